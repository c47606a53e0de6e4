"""Every engine's model from the one trained network, kept in a folder so that only the first run converts."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from commands import segtool as run_segtool

import segtool
from engines import keras_engine, litert_engine, onnxruntime_engine, openvino_engine
from engines.engine import Engine, Sources
from engines.worker import in_fresh_process
from segtool.machine.machine import package_versions
from segtool.models.resolve import find_model

CALIBRATION_IMAGES = 256
PACKAGES = (
    "numpy", "tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime", "openvino", "nncf", "ai-edge-litert",
)  # fmt: skip

_CONVERSIONS: dict[str, tuple[str, Callable[[Sources, Path], None]]] = {
    "stock": (onnxruntime_engine.MODEL, onnxruntime_engine.convert_stock),
    "stock-int8": (onnxruntime_engine.MODEL, onnxruntime_engine.quantize_stock),
    "openvino": (openvino_engine.MODEL, openvino_engine.convert),
    "openvino-int8": (openvino_engine.MODEL, openvino_engine.quantize),
    "litert": (litert_engine.MODEL, litert_engine.convert),
    "litert-int8": (litert_engine.MODEL, litert_engine.quantize),
}


@dataclass(frozen=True)
class Comparison:
    """The engines, what they were made from, and what JSON should say of that."""

    engines: list[Engine]
    sources: Sources
    facts: dict[str, Any]


def prepare(run: Path, spec: str, work: Path, *, ours: tuple[Path | None, Path | None, Path | None]) -> Comparison:
    """Convert what is not there yet.

    Parameters
    ----------
    run
        Folder of the training.
    spec
        Its data.
    work
        Folder to keep files in.
    ours
        Files that segtool exported, FP32, INT8 and pruned INT8; None to export them here.
    """
    keras_file = find_model(run, kind="keras").path.resolve()
    adapters = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*_engine.py"))]
    origin = json.dumps([package_versions(PACKAGES), spec]).encode()
    folder = work.resolve() / digest_of([keras_file.read_bytes(), origin, *adapters])
    images = kept(folder / "images", lambda target: in_fresh_process(_save_images, run, spec, target))
    sources = Sources(keras_file, images / "images.npz", folder / "stock" / onnxruntime_engine.MODEL)
    made = {name: _converted(folder / name, convert, sources) for name, convert in _CONVERSIONS.items()}
    own = _export(run, spec, folder) if None in ours else folder
    engines = [
        *onnxruntime_engine.engines(
            ours=ours[0] or own / "model.onnx",
            ours_int8=ours[1] or own / "model.int8.onnx",
            pruned=ours[2] or own / "pruned.int8.onnx",
            stock=made["stock"],
            stock_int8=made["stock-int8"],
        ),
        *openvino_engine.engines(float32=made["openvino"], int8=made["openvino-int8"]),
        *litert_engine.engines(float32=made["litert"], int8=made["litert-int8"]),
        *keras_engine.engines(keras_file),
    ]
    return Comparison(engines, sources, json.loads((images / "facts.json").read_text()))


def _converted(target: Path, conversion: tuple[str, Callable[[Sources, Path], None]], sources: Sources) -> Path:
    """Return the model file in folder `target`, converted first where it is not there."""
    name, convert = conversion
    return kept(target, lambda folder: in_fresh_process(convert, sources, folder)) / name


def kept(target: Path, make: Callable[[Path], Any]) -> Path:
    """Return `target`, made first where it is not there; a folder that was made by half is never kept."""
    if not target.is_dir():
        print("making", target.name, file=sys.stderr, flush=True)
        part = target.with_name(target.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        make(part)
        part.rename(target)
    return target


def _export(run: Path, spec: str, folder: Path) -> Path:
    """Export with segtool as it is now: a change of its code is another folder."""
    package = Path(segtool.__file__).parent
    digest = digest_of(path.read_bytes() for path in sorted(package.rglob("*.py")))

    def export(target: Path) -> None:
        source, data = str(run.resolve()), str(Path(spec).resolve()) if Path(spec).exists() else spec
        # A slower INT8 is a finding of the comparison, not the end of it.
        for name, more in (("model", ()), ("pruned", ("--prune", onnxruntime_engine.PRUNED))):
            options = ("--quantize", "--waive", "speed", "--data", data, "--out", str(target / f"{name}.onnx"))
            step = run_segtool("export", source, *options, *more, cwd=target)
            if step["exit_code"]:
                sys.exit("segtool export failed; its message is above.")

    return kept(folder / f"ours-{digest}", export)


def _save_images(run: Path, spec: str, folder: Path) -> None:
    """Save the images of the training's own split: spread evenly over the training part, and all of validation."""
    from segtool.export.data import open_data

    found = find_model(run, kind="keras")
    if found.run is None:
        sys.exit(f"{run} is no run folder; give the folder that `segtool train` wrote.")
    data = open_data(found.run, spec)
    train, val, dataset = data.split.train, data.split.val, data.dataset
    chosen = train[np.arange(CALIBRATION_IMAGES) * len(train) // CALIBRATION_IMAGES]
    size = int(found.run.data["height"]), int(found.run.data["width"])
    np.savez(
        folder / "images.npz",
        calibration=dataset.images(chosen, size=size),
        validation=dataset.images(val, size=size),
        truth=dataset.labels(val, size=size),
    )
    facts = {
        "data": Path(spec).name,
        "classes": list(dataset.class_names),
        "background_id": dataset.background_id,
        "ignore_id": dataset.ignore_id,
        "image": [*size, dataset.channels],
        "calibration_images": len(chosen),
        "validation_images": len(val),
        "fingerprint": dataset.fingerprint(),
        "network": {key: found.run.info[key] for key in ("arch", "recipe", "epochs", "parameters", "seed")},
    }
    (folder / "facts.json").write_text(json.dumps(facts))


def digest_of(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]
