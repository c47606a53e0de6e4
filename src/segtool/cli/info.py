"""`segtool info`."""

from __future__ import annotations

import importlib.util
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segtool.cli.common import Command, emit_json
from segtool.cli.layers import print_layers
from segtool.cli.options import NamedPath, json_option
from segtool.cli.tables import as_words, emit_facts
from segtool.errors import ModelFileError

if TYPE_CHECKING:
    from segtool.benchmark.layers import LayerTimes
    from segtool.contract import ModelContract
    from segtool.models.predictor import Predictor

ALL = "all"


class LayerCount(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic only in newer clicks
    """A positive number of layers, or the word all."""

    name = "N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return "all" or the number."""
        if value != ALL and not (str(value).isdecimal() and int(value) > 0):
            self.fail(
                f"{value!r} is not a number of layers; write --layers after MODEL, or as --layers=10.", param, ctx
            )
        return value if value == ALL else int(value)


@click.command(cls=Command, name="info")
@click.argument("model", required=False, type=NamedPath())
@click.option(
    "--layers",
    type=LayerCount(),
    is_flag=False,
    flag_value=ALL,
    metavar="[N]",
    help="Measure an .onnx file on this machine, one thread, and show in place of the contract the time of each layer, "
    "its multiply-accumulates (MACs), and the kernel that computes it; with N, of the N slowest. Write it after MODEL.",
)
@json_option
def command(*, model: Path | None, layers: int | str | None, as_json: bool) -> None:
    """Show the contract of MODEL: an .onnx or .keras file, or a run folder.

    For a run folder, this is the file that predict uses: INT8, or FP32 if INT8 was slower on export. Without an
    exported file it is the trained model. The default is the latest run, or the model that ships with segtool.

    \b
    Kernels of --layers:
      direct     INT8 convolution, fast: sums stay in registers until they are rounded
      depthwise  the same for one channel a group
      general    INT8 convolution, slower: copies its input, and rounds in a second pass
      matrix     INT8 matrix product
      float      float32
    On Arm, the instruction that multiplies follows: SDOT, UDOT or UMMLA are fast, SMLAL is not.

    \b
    Examples:
      segtool info
      segtool info model.int8.onnx --layers        # why INT8 is as fast or slow as it is on this machine
      segtool info model.int8.onnx --layers 10
    """
    from segtool.models.predictor import open_predictor
    from segtool.models.resolve import find_model

    predictor = open_predictor(find_model(_default() if model is None else model).path)
    times = None if layers is None else _layers(predictor)
    most = layers if isinstance(layers, int) else None
    if times is not None and not as_json:
        print_layers(times, most)
        return
    facts = _facts(predictor.path, predictor.contract)
    if predictor.kind == "onnx":
        facts["graph"] = graph_facts(predictor.path)
    if times is not None:
        facts["layers"] = times.to_dict(most)
    named = {"path": str(predictor.path), "run": _run_name(predictor.path)}
    if as_json:
        emit_json("info", {**named, "kind": predictor.kind, **facts})
        return
    emit_facts(dict(_rows({**named, **facts})))


def _layers(predictor: Predictor) -> LayerTimes:
    """Return the times of the layers, beside those of the FP32 file where it is in the same folder."""
    from segtool.benchmark.layers import measure_layers
    from segtool.models.resolve import float32_beside

    if predictor.kind != "onnx":
        raise ModelFileError(
            f"{predictor.path} is a trained model, and --layers measures an .onnx file; export it with "
            f"`segtool export {shlex.quote(str(predictor.path))}`."
        )
    return measure_layers(predictor.path, float32_beside(predictor.path, predictor.contract))


def _default() -> Path:
    from segtool.models.resolve import LATEST, RUN_NAME
    from segtool.models.shipped import default_model

    return LATEST if (LATEST / RUN_NAME).is_file() else default_model()


def _run_name(path: Path) -> str | None:
    """Return the run folder that contains a file, with the link runs/latest resolved; None without one."""
    from segtool.models.resolve import RUN_NAME

    folder = path.parent
    if not (folder / RUN_NAME).is_file():
        return None
    return str(folder.parent / folder.readlink() if folder.is_symlink() else folder)


def _facts(path: Path, contract: ModelContract) -> dict[str, Any]:
    return {
        "size_bytes": path.stat().st_size,
        "input": f"image uint8 (N, {contract.height}, {contract.width}, {contract.channels}), {contract.color_order}",
        "trained_size": list(contract.trained_size) if contract.trained_size else None,
        "output": contract.head,
        "precision": contract.precision,
        "classes": list(contract.class_names),
        "background_id": contract.background_id,
        "ignore_id": contract.ignore_id,
        "larger_images": contract.size_policy,
        "quantization": dict(contract.quantization),
        "convolutions": dict(contract.convolutions),
        "network": dict(contract.network),
        "metrics": dict(contract.metrics),
        "gates": dict(contract.gates),
        "data_fingerprint": contract.data_fingerprint,
        "split": dict(contract.split),
        "versions": dict(contract.versions),
        "contract_version": contract.version,
    }


def graph_facts(path: Path) -> dict[str, Any]:
    """Return facts about the graph; empty if onnx, which a device does not need, is not installed."""
    if importlib.util.find_spec("onnx") is None:
        return {}
    from segtool.models.backend import import_quietly

    onnx = import_quietly("onnx", extra="export")
    from segtool.export.stamp import census

    return census(onnx.load(path)).to_dict()


def _rows(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield one row per fact, without class tables. Nested facts have names such as "gates, parity"."""
    for key, value in facts.items():
        if isinstance(value, Mapping) and any(isinstance(item, Mapping) for item in value.values()):
            yield from _rows(value, f"{prefix}{key}, ")
        elif isinstance(value, Mapping):
            shown = {name: item for name, item in value.items() if name not in ("classes", "convention")}
            texts = [f"{name.replace('_', ' ')} {as_words(item)}" for name, item in shown.items() if _is_given(item)]
            if texts:
                yield prefix + key, ", ".join(texts)
        elif _is_given(value):
            yield prefix + key, as_words(value)


def _is_given(value: object) -> bool:
    return value is not None and value not in ("", [])
