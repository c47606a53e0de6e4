"""Which kernel computes an INT8 convolution: the rules for each processor, and what onnxruntime really does here."""

import platform
import sys
from pathlib import Path

import pytest
from int8_nets import Layer, write_pair

from segtool.benchmark.kernels import (
    Convolution,
    DirectKernel,
    advice,
    arm_instruction,
    direct_kernel,
    kernel_of,
    prefers_amx,
)
from segtool.benchmark.layers import measure_layers

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks"))
import kernel_classes

AVX2 = direct_kernel({"avx2"}, "x86_64")
AVX512 = direct_kernel({"avx2", "avx512f", "avx512bw", "avx512vl", "avx512_vnni"}, "x86_64")
AMX = direct_kernel({"avx2", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "amx_tile", "amx_int8"}, "x86_64")
DOT = direct_kernel({"asimd", "asimddp"}, "aarch64")
NEON = direct_kernel({"asimd"}, "aarch64")


@pytest.mark.parametrize(
    ("convolution", "processor", "kernel"),
    [
        (Convolution(4, 16, taps=9), AVX2, "direct"),
        (Convolution(3, 16, taps=9), AVX2, "general"),
        (Convolution(4, 8, taps=9), AVX2, "general"),
        (Convolution(64, 20), AVX2, "general"),
        (Convolution(64, 20), AVX512, "direct"),
        (Convolution(64, 31), AVX512, "general"),
        (Convolution(64, 32, symmetric_weights=False), AVX512, "general"),
        (Convolution(64, 32, taps=9, largest_weight=64), AVX2, "direct"),
        (Convolution(64, 32, taps=9, largest_weight=65), AVX2, "general"),
        (Convolution(64, 32, taps=9, largest_weight=128), AVX512, "direct"),
        (Convolution(1, 1, groups=32, taps=9), AVX2, "depthwise"),
        (Convolution(1, 1, groups=24, taps=9), AVX512, "general"),
        (Convolution(1, 2, groups=32, taps=9), AVX512, "general"),
        (Convolution(8, 8, groups=2, taps=9), AVX512, "general"),
        (Convolution(64, 32, taps=9), DOT, "direct"),
        (Convolution(64, 40, taps=9), DOT, "general"),
        (Convolution(64, 40, taps=9), NEON, "direct"),
        (Convolution(64, 32), DOT, "general"),
        (Convolution(32, 32, taps=9), DOT, "general"),
        (Convolution(1, 1, groups=24, taps=9), DOT, "depthwise"),
        (Convolution(64, 32, taps=9), None, "general"),
    ],
)
def test_the_kernel_of_a_convolution(convolution: Convolution, processor: DirectKernel | None, kernel: str) -> None:
    assert kernel_of(convolution, processor) == kernel
    if kernel != "general":
        assert advice(convolution, processor) is None


def test_processors_without_a_direct_kernel_and_unknown_ones() -> None:
    assert direct_kernel({"sse4_1"}, "x86_64") is None
    assert direct_kernel({"vsx"}, "ppc64le") is None
    assert direct_kernel((), "AMD64") == AVX2
    assert direct_kernel((), "arm64") == DOT


@pytest.mark.parametrize(
    ("sets", "signed", "instructions"),
    [
        ({"asimd"}, True, ["SMLAL", "SMLAL", "SMLAL", None]),
        ({"asimd"}, False, ["SMLAL", "SMLAL", "SMLAL", None]),
        ({"asimd", "asimddp"}, True, ["SDOT", "SDOT", "SMLAL", None]),
        ({"asimd", "asimddp"}, False, ["SDOT", "UDOT", "SMLAL", None]),
        ({"asimd", "asimddp", "i8mm"}, True, ["SDOT", "SDOT", "SMLAL", None]),
        ({"asimd", "asimddp", "i8mm"}, False, ["SDOT", "UMMLA", "SMLAL", None]),
        ((), True, [None, None, None, None]),
    ],
)
def test_the_instruction_of_a_kernel_on_arm(sets: set[str], signed: bool, instructions: list[str | None]) -> None:
    kernels = ("direct", "general", "depthwise", "float")
    assert [arm_instruction(kernel, sets, signed=signed) for kernel in kernels] == instructions


@pytest.mark.parametrize(
    ("convolution", "processor", "nouns"),
    [
        (Convolution(64, 31), AVX2, ["31 output", "32"]),
        (Convolution(3, 12), AVX512, ["3 input and 12 output", "4 and 16"]),
        (Convolution(1, 1, groups=60), AVX2, ["60 channels", "64", "depthwise"]),
        (Convolution(8, 8, groups=4), AVX2, ["4 groups"]),
        (Convolution(64, 32, symmetric_weights=False), AVX512, ["zero point"]),
        (Convolution(64, 32, largest_weight=127), AVX2, ["8-bit weights", "--preset x86"]),
        (Convolution(1024, 256), AMX, ["1024 products", "AMX"]),
    ],
)
def test_advice_names_what_is_in_the_way_and_what_helps(
    convolution: Convolution, processor: DirectKernel, nouns: list[str]
) -> None:
    text = advice(convolution, processor, positions=384) or ""
    assert [noun for noun in nouns if noun not in text] == []


@pytest.mark.parametrize(
    "convolution", [Convolution(31, 32), Convolution(33, 30, taps=9), Convolution(1, 1, groups=60)]
)
def test_the_channels_that_advice_asks_for_take_the_fast_kernel(convolution: Convolution) -> None:
    numbers = [int(word) for word in (advice(convolution, AVX2) or "").split(":")[1].split() if word.isdecimal()]
    if convolution.is_depthwise:
        assert kernel_of(Convolution(1, 1, groups=numbers[0]), AVX2) == "depthwise"
        return
    inputs = numbers[0] if convolution.input_channels % 4 else convolution.input_channels
    outputs = numbers[-1] if convolution.output_channels % 8 else convolution.output_channels
    assert kernel_of(Convolution(inputs, outputs, taps=convolution.taps), AVX2) == "direct"


def test_amx_is_preferred_for_long_sums_that_take_the_direct_kernel_now() -> None:
    assert prefers_amx(Convolution(1024, 256), AMX, positions=384)
    assert not prefers_amx(Convolution(1024, 256), AVX512, positions=384)
    assert not prefers_amx(Convolution(24, 144), AMX, positions=11520)
    assert not prefers_amx(Convolution(96, 64, taps=9), AMX, positions=11520)
    moved = Convolution(1024, 256, symmetric_weights=False)
    assert not prefers_amx(moved, AMX, positions=384)
    assert advice(moved, AMX, positions=384) is None


LAYERS = [
    Layer("first", 64),
    Layer("direct", 64),
    Layer("pointwise", 20, kernel=1),
    Layer("odd", 31),
    Layer("odd-inputs", 48),
    Layer("depthwise", 48, groups=48),
    Layer("few", 24),
    Layer("depthwise-24", 24, groups=24),
    Layer("grouped", 32, groups=2),
    Layer("multiplied", 64, groups=32),
    Layer("moved", 32, zero=1),
    Layer("wide", 66),
    Layer("few-outputs", 8),
    Layer("eight-bit-weights", 32, largest=128),
]


def test_the_prediction_is_what_onnxruntime_does_on_this_machine(tmp_path: Path) -> None:
    found = kernel_classes.network("layers", str(write_pair(tmp_path, LAYERS)[0]))
    rows = {row["layer"]: row for row in found["layers"]}
    assert list(rows) == [layer.name for layer in LAYERS]
    assert {name: row["observed"] for name, row in rows.items()} == {n: row["predicted"] for n, row in rows.items()}
    # Without the option for exact products, the kernel for int8 weights of 8 bits overflows on some processors.
    assert {name for name, row in rows.items() if not row["same_output"]} <= {"eight-bit-weights"}
    if direct_kernel() is not None:
        assert {row["observed"] for row in rows.values()} == {"direct", "depthwise", "general"}


def test_int8_activations_are_computed_in_float_on_x86(tmp_path: Path) -> None:
    if platform.machine().lower() not in ("x86_64", "amd64"):
        pytest.skip("only x86 has no kernels for int8 activations")
    times = measure_layers(write_pair(tmp_path, LAYERS[:3], signed=True)[0], runs=1)
    assert {row.kernel for row in times.layers if row.name in ("first", "direct", "pointwise")} == {"float"}
