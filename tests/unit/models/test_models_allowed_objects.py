"""The allow-list against the installed Keras: every public object is decided on, and what is allowed only computes."""

import ast
import importlib
import inspect
import pkgutil
import textwrap

import pytest

from segtool.errors import ModelFileError
from segtool.models.allowed_objects import ALLOWED, FUNCTIONS, REFUSED
from segtool.models.config_check import check_config

# Base classes and a description of inputs: no layers that a file names.
ABSTRACT = {"InputSpec", "Layer", "Wrapper"}
# Operations that call a Python function, and base classes.
CALLING = {"AssociativeScan", "Cond", "ForiLoop", "Map", "Scan", "Switch", "VectorizedMap", "WhileLoop", "JVP"}
BASES = {"Function", "Operation"}
# What reads files, loads code or runs it, wherever it is written.
DANGEROUS = {
    "open", "eval", "exec", "compile", "__import__", "import_module", "get_file", "func_load", "load_model",
    "gfile", "urlopen", "urlretrieve", "system", "Popen", "pickle", "load_library", "load_op_library",
}  # fmt: skip


def model(activation="relu", **extra):
    layer = {
        "module": "keras.layers",
        "class_name": "Activation",
        "config": {"name": "x", "activation": activation},
        "registered_name": None,
        **extra,
    }
    return {"class_name": "Functional", "module": "keras", "registered_name": None, "config": {"layers": [layer]}}


def public_classes(module):
    from keras.src.api_export import get_name_from_symbol

    return {get_name_from_symbol(value).rpartition(".")[2] for value in vars(module).values() if inspect.isclass(value)}


def operations():
    """All operation classes of keras.ops, by module."""
    import keras.src.ops
    from keras.src.ops.operation import Operation

    for info in pkgutil.iter_modules(keras.src.ops.__path__):
        if not info.name.endswith("_test"):
            module = importlib.import_module(f"keras.src.ops.{info.name}")
            for name, value in vars(module).items():
                if inspect.isclass(value) and issubclass(value, Operation) and value.__module__ == module.__name__:
                    yield module.__name__, name


def test_every_public_layer_is_allowed_or_refused():
    import keras

    undecided = public_classes(keras.layers) - ALLOWED["keras.layers"] - REFUSED.keys() - ABSTRACT
    assert not undecided


def test_every_operation_is_allowed_or_refused():
    undecided = {
        (module, name) for module, name in operations() if name not in ALLOWED.get(module, ()) and name not in CALLING
    }
    assert {name for _, name in undecided} <= BASES


def test_no_operation_that_calls_a_function_is_allowed():
    assert not [(module, names & CALLING) for module, names in ALLOWED.items() if names & CALLING]


@pytest.mark.parametrize("module", sorted(ALLOWED))
def test_no_allowed_class_opens_files_or_loads_code(module):
    """The source of each class and its bases up to Keras's own is free of calls that do."""
    found = importlib.import_module(module)
    for name in sorted(ALLOWED[module]):
        for owner in getattr(found, name, object).__mro__:
            if not owner.__module__.startswith("keras.src.") or "trackers" in owner.__module__:
                continue
            for method in ("__init__", "from_config", "build", "build_from_config", "call"):
                if method in vars(owner):
                    tree = ast.parse(textwrap.dedent(inspect.getsource(vars(owner)[method])))
                    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
                    names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
                    assert not names & DANGEROUS - ({"compile"} if "models" in owner.__module__ else set()), (
                        name,
                        method,
                        names & DANGEROUS,
                    )


def test_the_functions_are_activations():
    import keras

    missing = {name for name in FUNCTIONS if not callable(getattr(keras.activations, name, None))}
    assert not missing


@pytest.mark.parametrize("module", ["builtins", "keras.activations"])
def test_an_activation_may_be_named_as_a_function(module):
    check_config(model({"module": module, "class_name": "function", "config": "relu"}), source="x")


@pytest.mark.parametrize(
    "hostile",
    [
        {"module": "builtins", "class_name": "function", "config": "eval", "registered_name": "function"},
        {"module": "builtins", "class_name": "function", "config": "get", "registered_name": "function"},
        {"module": "builtins", "class_name": "function", "config": "deserialize"},
        {"module": "os", "class_name": "function", "config": "relu"},
        {"module": "keras.utils", "class_name": "function", "config": "get_file"},
        {"module": "builtins", "class_name": "function", "config": "relu", "registered_name": "mine>relu"},
        {"module": "builtins", "class_name": "function", "config": ["relu"]},
        {"module": "keras.activations", "class_name": "deserialize", "config": {}},
        {"module": "keras.src.ops.core", "class_name": "Map", "config": {}},
        {"module": "keras.src.ops.numpy", "class_name": "Operation", "config": {}},
        {"module": "keras.src.ops.operation", "class_name": "Operation", "config": {}},
        {"module": "keras.layers", "class_name": "Lambda", "config": {}},
        {"module": "keras.src.layers.core.lambda_layer", "class_name": "Lambda", "config": {}},
        {"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {}},
        {"module": "keras.layers", "class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}},
        {"module": "keras.layers", "class_name": "SpectralNormalization", "config": {
            "layer": {"module": "keras.layers", "class_name": "Lambda", "config": {}}}},
        {"class_name": "Dense", "config": {}},
        {"class_name": "__slice__", "config": {"start": {"class_name": "__lambda__", "config": {}}}},
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["activation", "build_config", "inbound_nodes"])
def test_code_is_refused_wherever_it_is_named(hostile, place):
    config = model(hostile) if place == "activation" else model(**{place: {"x": [hostile]}})
    with pytest.raises(ModelFileError, match="not opened"):
        check_config(config, source="x")


def test_a_refused_layer_says_why_and_what_to_do():
    with pytest.raises(ModelFileError, match=r"keras\.layers\.TFSMLayer.*opens a SavedModel.*--custom FILE\.py"):
        check_config(model({"module": "keras.layers", "class_name": "TFSMLayer", "config": {}}), source="x.keras")


@pytest.mark.parametrize("name", ["Conv2D", "GlorotUniform", "L2", "Policy"])
def test_a_legacy_file_names_classes_without_modules(name):
    config = model({"class_name": name, "config": {}})
    check_config(config, source="x", legacy=True)
    with pytest.raises(ModelFileError, match=name):
        check_config(config, source="x")


@pytest.mark.parametrize("name", ["Lambda", "TFOpLambda", "TensorFlowOpLayer", "Custom>Mine", "system", "function"])
def test_a_legacy_file_may_not_name_code(name):
    with pytest.raises(ModelFileError, match=name):
        check_config(model({"class_name": name, "config": {}}), source="x", legacy=True)
