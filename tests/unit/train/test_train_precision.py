"""The training precision fits the machine, and bfloat16 leaves no weight that is no number."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from segtool.errors import ProviderError, TrainingError
from segtool.train import precision
from segtool.train.architectures import build
from segtool.train.device import choose_device
from segtool.train.epoch_end import check_finite
from segtool.train.precision import choose_precision


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ({"avx512_bf16"}, "bfloat16"),
        ({"amx_bf16", "avx2"}, "bfloat16"),
        ({"avx2", "avx512f"}, "float32"),
        (set(), "float32"),
    ],
)
def test_a_cpu_gets_what_it_does_well(flags: set[str], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "instruction_sets", lambda: sorted(flags))
    assert choose_precision("auto", processor="cpu").name == name


@pytest.mark.parametrize(
    ("capability", "name"),
    [((9, 0), "bfloat16"), ((8, 0), "bfloat16"), ((7, 5), "float16"), ((6, 1), "float32"), (None, "float32")],
)
def test_a_gpu_gets_what_it_does_well(capability: tuple[int, int] | None, name: str) -> None:
    chosen = choose_precision("auto", processor="gpu", capability=capability)
    assert (chosen.name, bool(chosen.reason)) == (name, True)


def test_what_is_asked_for_is_taken_or_refused() -> None:
    assert choose_precision("bfloat16", processor="cpu").policy == "mixed_bfloat16"
    with pytest.raises(TrainingError, match="float16 training was requested on a CPU"):
        choose_precision("float16", processor="cpu")
    with pytest.raises(TrainingError, match="no precision 'int4'"):
        choose_precision("int4", processor="gpu")


def test_a_gpu_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ProviderError, match="A GPU was requested and the tensorflow backend finds none"):
        choose_device("gpu")
    assert choose_device("auto").processor == choose_device("cpu").processor == "cpu"


def _step_in_bfloat16(model: keras.Model) -> None:
    rng = np.random.default_rng(0)
    model.compile("adam", "sparse_categorical_crossentropy")
    for _ in range(2):
        model.train_on_batch(rng.integers(0, 256, (8, 64, 84, 1), dtype=np.uint8), rng.integers(0, 11, (8, 64, 84)))


def test_bfloat16_leaves_no_weight_that_is_no_number() -> None:
    """The trap: 7 x 7 taps that only ever meet padding became NaN in TensorFlow's mixed bfloat16 on a CPU."""
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build("fcn8", size=(64, 84), channels=1, num_classes=11)
    finally:
        keras.config.set_dtype_policy(previous)
    assert model.get_layer("conv5_2").compute_dtype == "bfloat16"
    _step_in_bfloat16(model)
    check_finite(model)


def test_a_weight_that_is_no_number_is_named() -> None:
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(2, 3, name="first")])
    kernel = model.get_layer("first").kernel
    values = kernel.numpy()
    values[0, 0, 0, 1] = np.nan
    kernel.assign(values)
    with pytest.raises(TrainingError, match=r"1 values of the weight sequential.*/first/kernel are not finite"):
        check_finite(model)
