"""What the owner of a board sends in after `segtool benchmark --kit`: figures, without names.

Files and layers have names that users choose, and paths contain names of users. Therefore the fields that are copied
are listed here; a file is identified by its SHA-256.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from segtool.benchmark.layers import measure_layers
from segtool.benchmark.measure import MeasureOptions
from segtool.files import sha256_of
from segtool.machine.processors import available_cpus
from segtool.models.resolve import float32_beside
from segtool.runtime.opening import load
from segtool.runtime.providers import sets_threads

KIT_NAME = "segtool-kit.json"

_KEPT = ("machine", "load_average_at_end", "mode", "seconds", "runs", "warmup", "ranking")
_OF_ROW = (
    "provider", "threads", "batch", "precision", "head", "size_bytes", "n", "latency_ms", "stages_ms",
    "images_per_second", "throughput_ips", "throughput", "cold_start_ms", "cold_start", "peak_rss_mb", "accuracy",
)  # fmt: skip
_OF_NOISE = ("limit", "band", "quiet")
_OF_VERIFY = ("provider", "images", "pixels", "mismatching_pixels", "required_agreement", "agreement", "passed")
_OF_LAYERS = ("threads", "runs", "total_us", "float32_total_us")
_OF_LAYER = ("operator", "shape", "kernel", "steps", "macs", "us", "float32_us")


def kit_options(options: MeasureOptions) -> MeasureOptions:
    """Return the options of a kit: by default one thread, and all."""
    if options.threads or sets_threads(options.provider_options):
        return options
    return replace(options, threads=tuple(sorted({1, available_cpus()})))


def verify_files(paths: Sequence[Path], options: MeasureOptions) -> dict[Path, list[dict[str, Any]]]:
    """Run the golden test of each file with each provider, in a separate process first; return the results.

    Raises
    ------
    SegtoolError
        A file cannot be run, or has no golden pair.
    """
    found: dict[Path, list[dict[str, Any]]] = {path: [] for path in paths}
    for path, provider in product(paths, options.providers):
        segmenter = load(path, provider=provider, provider_options=options.provider_options, sandbox=True)
        found[path].append(_some(segmenter.verify().to_dict(), _OF_VERIFY))
    return found


def kit_of(result: Mapping[str, Any], verified: Mapping[Path, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Return what to send in: the figures of `measure`, the result of `verify_files`, and the time of each layer.

    Returns
    -------
    dict
        As `segtool.benchmark.measure.measure` returns it, with `file`, an index into `files`, in place of the path.
        `files`: of each its `sha256`, `preset`, `input` (height, width, channels), `classes`, `verify`, and `layers` on
        the CPU, the slowest first.
    """
    paths = list(verified)
    rows = [{"file": paths.index(Path(row["path"])), **_some(row, _OF_ROW)} for row in result["models"]]
    noise = result["noise"] and _some(result["noise"], _OF_NOISE)
    files = [_file(path, verified[path]) for path in paths]
    return {"kit": True, "files": files, "models": rows, "noise": noise, **_some(result, _KEPT)}


def _file(path: Path, verified: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    contract = load(path, provider="cpu", threads=1).contract
    layers = measure_layers(path, float32_beside(path, contract)).to_dict()
    return {
        "sha256": sha256_of(path),
        "preset": contract.quantization.get("preset"),
        "input": [contract.height, contract.width, contract.channels],
        "classes": contract.num_classes,
        "verify": verified,
        "layers": {**_some(layers, _OF_LAYERS), "layers": [_some(row, _OF_LAYER) for row in layers["layers"]]},
    }


def _some(values: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}
