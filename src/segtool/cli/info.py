"""`segtool info`."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segtool.cli.common import Command, emit_json
from segtool.cli.options import json_option
from segtool.cli.tables import emit_table

if TYPE_CHECKING:
    from segtool.contract import ModelContract


@click.command(cls=Command, name="info", short_help="Show the inputs, outputs and measured results of a model file.")
@click.argument("model", required=False, type=click.Path(path_type=Path))
@json_option
def command(*, model: Path | None, as_json: bool) -> None:
    """Show the contract of MODEL: an .onnx or .keras file, or a run folder.

    For a run folder, this is the file that predict uses: INT8, or FP32 if INT8 was slower on export. Without an
    exported file it is the trained model. The default is the latest run, or the model that ships with segtool.
    """
    from segtool.models.predictor import open_predictor
    from segtool.models.resolve import find_model

    predictor = open_predictor(find_model(_default() if model is None else model).path)
    facts = _facts(predictor.path, predictor.contract)
    if predictor.kind == "onnx":
        facts["graph"] = graph_facts(predictor.path)
    named = {"path": str(predictor.path), "run": _run_name(predictor.path)}
    if as_json:
        emit_json("info", {**named, "kind": predictor.kind, **facts})
        return
    emit_table(["fact", "value"], [[key, value] for key, value in _rows({**named, **facts})], text=True)


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
            if shown:
                yield prefix + key, ", ".join(f"{name} {_text(item)}" for name, item in shown.items())
        elif value not in ("", None):
            yield prefix + key, _text(value)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
