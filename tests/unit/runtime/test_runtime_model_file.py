"""What is refused of a model file before onnxruntime opens it; the files are written by the package onnx."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_models import tiny_contract, write_model

import segtool
from segtool.errors import ModelFileError, ProviderError
from segtool.runtime import protobuf, sandbox
from segtool.runtime import session as session_module
from segtool.runtime.model_file import CHECKSUM_KEY, check_model_file, sealed


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model.onnx")


@pytest.fixture
def opens() -> None:
    """For tests in which onnxruntime may open the file."""


@pytest.fixture(autouse=True)
def _onnxruntime_must_not_start(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "opens" in request.fixturenames:
        return

    def start(*_: object, **__: object) -> None:
        raise AssertionError("onnxruntime was started on a file that should have been refused")

    monkeypatch.setattr(session_module.ort, "InferenceSession", start)


def changed(path: Path, change: Callable[[onnx.ModelProto], object]) -> Path:
    model = onnx.load(path)
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


def external(location: str = "weights.bin") -> TensorProto:
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "outside")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def in_a_branch(tensor: TensorProto, depth: int = 1) -> onnx.NodeProto:
    """An If whose branch holds the tensor, `depth` graphs down."""
    node = helper.make_node("Identity", ["outside"], ["out"])
    graph, other = (helper.make_graph([node], "branch", [], [], tensors) for tensors in ([tensor], []))
    for _ in range(depth):
        node = helper.make_node("If", ["c"], ["out"], then_branch=graph, else_branch=other)
        graph = helper.make_graph([node], "branch", [], [])
    return node


def add_function(model: onnx.ModelProto, node: onnx.NodeProto) -> None:
    model.functions.append(
        helper.make_function("mine", "f", ["a"], ["b"], [node], [helper.make_opsetid("", 17)], attributes=[])
    )


def aborting(model: onnx.ModelProto) -> None:
    """Add a map of less than no width, cropped: onnxruntime 1.32 ends the process on it, with no exception."""
    constants = {
        "w": np.zeros((1, 1, 3, 3), np.float32),
        "zero": np.array([0]),
        "two": np.array([2]),
        "axis": np.array([3]),
    }
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    model.graph.node.extend(
        [
            helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
            helper.make_node("Conv", ["planes", "w"], ["none"], kernel_shape=[3, 200]),
            helper.make_node("Slice", ["none", "zero", "two", "axis"], ["crop"]),
        ]
    )


def sparse() -> onnx.SparseTensorProto:
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "i")
    return helper.make_sparse_tensor(external(), indices, [4])


EXTERNAL: dict[str, Callable[[onnx.ModelProto], object]] = {
    "initializer": lambda m: m.graph.initializer.append(external()),
    "sparse initializer": lambda m: m.graph.sparse_initializer.append(sparse()),
    "constant": lambda m: m.graph.node.append(helper.make_node("Constant", [], ["v"], value=external())),
    "branch": lambda m: m.graph.node.append(in_a_branch(external())),
    "deep branch": lambda m: m.graph.node.append(in_a_branch(external(), depth=10)),
    "function": lambda m: add_function(m, helper.make_node("Constant", [], ["b"], value=external())),
    "training": lambda m: m.training_info.add().initialization.initializer.append(external()),
    "location without entries": lambda m: m.graph.initializer[0].__setattr__("data_location", TensorProto.EXTERNAL),
    "entries without location": lambda m: m.graph.initializer[0].external_data.add(key="location", value="x"),
}


@pytest.mark.parametrize("change", EXTERNAL.values(), ids=EXTERNAL)
def test_external_data_are_refused_wherever_they_stand(path: Path, change: Callable[..., object]) -> None:
    with pytest.raises(ModelFileError, match=r"tensors in another file.*self-contained"):
        segtool.load(changed(path, change))


@pytest.mark.parametrize("location", ["/etc/passwd", "../../secret", "C:\\secret", "a" * 5000])
def test_the_other_file_is_named_and_never_read(path: Path, location: str) -> None:
    changed(path, lambda model: model.graph.initializer.append(external(location)))
    with pytest.raises(ModelFileError) as caught:
        segtool.load(path)
    assert location[:80] in str(caught.value).replace("\\\\", "\\")
    assert len(str(caught.value)) < 600


def test_an_enum_above_32_bits_is_still_external(path: Path) -> None:
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "outside").SerializeToString()
    tensor += b"\x70\x81\x80\x80\x80\x10"  # data_location = 2**32 + 1, which protobuf reads as 1
    graph = b"\x2a" + bytes([len(tensor)]) + tensor
    path.write_bytes(path.read_bytes() + b"\x3a" + bytes([len(graph)]) + graph)
    with pytest.raises(ModelFileError, match="in another file"):
        segtool.load(path)


@pytest.mark.parametrize(("name", "domain"), [("Evil", "my.lib"), ("EPContext", "com.microsoft"), ("Cast", "ai.onnx ")])
def test_foreign_operators_are_refused(path: Path, name: str, domain: str) -> None:
    node = helper.make_node(name, ["image"], ["x"], domain=domain)
    with pytest.raises(ModelFileError, match=rf"the operator '{name}' of '{domain}'"):
        segtool.load(changed(path, lambda model: model.graph.node.append(node)))
    inner = helper.make_node(name, ["a"], ["b"], domain=domain)
    with pytest.raises(ModelFileError, match="could run code"):
        segtool.load(changed(write_model(path), lambda model: add_function(model, inner)))


def test_functions_of_the_file_itself_may_be_called(path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        add_function(model, helper.make_node("Identity", ["a"], ["b"]))
        model.graph.node.append(helper.make_node("f", ["image"], ["x"], domain="mine"))

    assert check_model_file(changed(path, change)).path == path


@pytest.mark.parametrize("name", ["", "com.microsoft", "ai.onnx.ml"])
def test_onnxruntimes_own_operators_pass(path: Path, name: str) -> None:
    node = helper.make_node("Gelu", ["image"], ["x"], domain=name)
    check_model_file(changed(path, lambda model: model.graph.node.append(node)))


def test_too_deep_a_nesting_is_refused(path: Path) -> None:
    inner = numpy_helper.from_array(np.zeros(1, np.float32), "outside")
    check_model_file(changed(path, lambda model: model.graph.node.append(in_a_branch(inner, depth=10))))
    changed(write_model(path), lambda model: model.graph.node.append(in_a_branch(inner, depth=18)))
    with pytest.raises(ModelFileError, match="nested more than"):
        segtool.load(path)


def test_a_file_above_the_limit_is_refused_unread(path: Path) -> None:
    size = path.stat().st_size
    with pytest.raises(ModelFileError, match=rf"{size:,} bytes, but the limit is 1,000"):
        segtool.load(path, max_bytes=1000)
    check_model_file(path, max_bytes=size)
    os.truncate(path, 2**31)  # sparse: nothing of it is on the disk
    with pytest.raises(ModelFileError, match="limit is 2,147,483,647"):
        segtool.load(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_or_a_device_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    (tmp_path / "link.onnx").symlink_to(tmp_path / "pipe.onnx")
    (tmp_path / "zero.onnx").symlink_to("/dev/zero")
    for name in ("pipe", "link", "zero"):
        with pytest.raises(ModelFileError, match="pipe, socket or device"):
            segtool.load(tmp_path / f"{name}.onnx")


@pytest.mark.parametrize("name", ["x" * 300 + ".onnx", "nul\0.onnx", "loop.onnx", "model.onnx/inside.onnx"])
def test_names_that_cannot_be_opened(path: Path, name: str) -> None:
    (path.parent / "loop.onnx").symlink_to("loop.onnx")
    with pytest.raises(ModelFileError, match=r"cannot be read|does not exist"):
        segtool.load(path.parent / name)


@pytest.mark.usefixtures("opens")
def test_a_link_to_a_model_is_followed(path: Path) -> None:
    link = path.with_name("latest.onnx")
    link.symlink_to(path.name)
    assert segtool.load(link).contract == tiny_contract()


class TestChecksum:
    @pytest.mark.usefixtures("opens")
    def test_a_sealed_file_opens_and_any_reader_sees_the_entry(self, path: Path) -> None:
        path.write_bytes(sealed(path.read_bytes()))
        assert segtool.load(path).contract == tiny_contract()
        stored = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
        assert stored[CHECKSUM_KEY] == check_model_file(path).metadata[CHECKSUM_KEY]

    @pytest.mark.usefixtures("opens")
    def test_writing_it_again_unchanged_keeps_it_whole(self, path: Path) -> None:
        path.write_bytes(sealed(path.read_bytes()))
        segtool.load(changed(path, lambda _: None))

    def test_every_changed_byte_is_found_or_unseals(self, path: Path) -> None:
        whole = sealed(path.read_bytes())
        for at in (*range(0, len(whole) - 40, 11), *range(len(whole) - 40, len(whole))):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
            try:
                found = check_model_file(path)
            except ModelFileError:
                continue
            # Only damage of the seal itself can hide it; everything before it is as it was.
            assert CHECKSUM_KEY not in found.metadata
            assert at >= len(whole) - 27

    def test_an_edited_file_says_how_to_go_on(self, path: Path) -> None:
        path.write_bytes(sealed(path.read_bytes()))
        with pytest.raises(ModelFileError, match=f"is damaged.*remove the metadata '{CHECKSUM_KEY}'"):
            segtool.load(changed(path, lambda model: model.graph.node[0].__setattr__("name", "other")))

    def test_bytes_behind_the_seal_are_found(self, path: Path) -> None:
        path.write_bytes(sealed(path.read_bytes()) + b"\x32\x01x")  # a valid field: doc_string
        with pytest.raises(ModelFileError, match="is damaged"):
            segtool.load(path)


class TestDamage:
    def test_every_truncation_is_an_error(self, path: Path) -> None:
        whole = path.read_bytes()
        for size in range(1, len(whole), 7):
            path.write_bytes(whole[:size])
            with pytest.raises(ModelFileError):
                segtool.load(path)

    @pytest.mark.parametrize(
        "content",
        [
            b"\x08" + b"\xff" * 20,  # a number without an end
            b"\x08\x08\x3a\xff\xff\xff\xff\x0f",  # a length beyond the file
            b"\x08\x08\x3a\x02\x0a\x7f",  # a length beyond its message
            b"\x0b\x0c",  # groups, which ONNX has not
            b"\x08\x08",  # no graph
        ],
    )
    def test_bytes_that_are_no_message(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        with pytest.raises(ModelFileError, match="not an ONNX file, or is damaged"):
            segtool.load(path)

    def test_a_file_of_nothing_but_fields_does_not_keep_the_reader_busy(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(protobuf, "MAX_FIELDS", 10_000)
        path.write_bytes(b"\x08\x08" + b"\x40\x00" * 10_000 + b"\x3a\x00")
        with pytest.raises(ModelFileError, match="too many fields"):
            segtool.load(path)

    def test_metadata_that_are_no_text(self, path: Path) -> None:
        path.write_bytes(path.read_bytes() + b"\x72\x06\x0a\x01k\x12\x01\xff")
        with pytest.raises(ModelFileError, match="is not text"):
            segtool.load(path)

    @pytest.mark.usefixtures("opens")
    def test_names_that_are_no_text(self, path: Path) -> None:
        data = path.read_bytes().replace(b"image", b"\xff\xfe\xfd\xfc\xfb")
        path.write_bytes(data)
        with pytest.raises(ModelFileError, match="are not text"):
            segtool.load(path)

    @pytest.mark.usefixtures("opens")
    def test_a_file_that_is_replaced_while_it_is_opened(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        start = session_module._start

        def replaced(*arguments: object, **options: object) -> object:
            session = start(*arguments, **options)
            path.write_bytes(path.read_bytes())
            os.utime(path, ns=(1, 1))
            return session

        monkeypatch.setattr(session_module, "_start", replaced)
        with pytest.raises(ModelFileError, match="was replaced while"):
            segtool.load(path)


@pytest.mark.usefixtures("opens")
class TestTrial:
    def test_what_would_end_the_process_is_an_error(self, path: Path) -> None:
        changed(path, aborting)
        code = "import sys, segtool; segtool.load(sys.argv[1], provider='cpu')"
        if subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, check=False).returncode >= 0:
            pytest.skip("this onnxruntime does not abort on it")
        with pytest.raises(ModelFileError, match="crashed its process in the sandbox"):
            segtool.load(path, sandbox=True, provider="cpu")

    def test_a_process_that_dies_is_told_by_its_signal(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sandbox, "_SANDBOX", "import os, sys; sys.stderr.write('assertion failed'); os.abort()")
        with pytest.raises(ModelFileError, match=r"crashed its process in the sandbox \(SIGABRT: assertion failed\)"):
            segtool.load(path, sandbox=True)

    def test_a_process_that_hangs(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sandbox, "_SANDBOX", "import time; time.sleep(60)")
        with pytest.raises(ModelFileError, match=r"within 0\.2 seconds"):
            sandbox.try_in_sandbox(path, provider="cpu", threads=1, seconds=0.2)

    def test_a_good_model_passes_and_errors_are_those_of_load(self, path: Path) -> None:
        assert segtool.load(path, sandbox=True, provider="cpu", threads=1).contract == tiny_contract()
        with pytest.raises(ProviderError, match="'abacus'"):
            segtool.load(path, sandbox=True, provider="abacus")
