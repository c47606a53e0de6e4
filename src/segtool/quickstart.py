"""The full pipeline in a few minutes: train, export, quantize, predict, measure, on built-in data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtool.benchmark.measure import MeasureOptions, measure
from segtool.contract import ModelContract
from segtool.data.base import Dataset
from segtool.data.loading import load_dataset
from segtool.data.make import write_samples
from segtool.data.split import split
from segtool.errors import OutputExistsError
from segtool.evaluate.evaluate import EvaluateOptions
from segtool.export import ExportOptions, ExportResult, export_model
from segtool.files import write_json
from segtool.predict.predict import Manifest, PredictOptions, predict_paths
from segtool.report.evaluation import evaluate_and_draw
from segtool.runtime.opening import load
from segtool.text import counted
from segtool.train.callbacks import TrainListener
from segtool.train.options import TrainOptions, TrainResult
from segtool.train.trainer import train

SAMPLES = 6


@dataclass(frozen=True)
class QuickstartOptions:
    """Output folder, amount of data and epochs; the defaults take a few minutes on two cores."""

    out: Path = Path("quickstart")
    images: int = 2000
    epochs: int = 12
    seed: int = 0


def quickstart(
    options: QuickstartOptions,
    *,
    listener: TrainListener | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Run the pipeline and return its summary, which is also written to summary.json in the folder.

    Parameters
    ----------
    options
        See `QuickstartOptions`.
    listener
        Receives the progress of the training.
    say
        Called with one line of text before each step.

    Returns
    -------
    dict
        "models": for "float32" and "int8" the file, its accuracy on validation and its latency; "speed": the verdict
        of the export's gate; "files": the written files.

    Raises
    ------
    OutputExistsError
        The folder exists.
    SegtoolError
        A step failed.
    """
    if options.out.exists():
        raise OutputExistsError(f"{options.out} already exists and was not changed; remove it or choose another --out.")
    say(
        f"1/5  Train {TrainOptions.arch} on {counted(options.images, 'generated image')} for "
        f"{counted(options.epochs, 'epoch')}"
    )
    data = f"{TrainOptions.data}:{options.images}"
    trained = train(
        TrainOptions(data=data, epochs=options.epochs, seed=options.seed),
        out=options.out / "run",
        latest=False,
        listener=listener,
        arguments=("--data", data, "--epochs", str(options.epochs), "--seed", str(options.seed)),
    )
    say("2/5  Export to ONNX, FP32 and INT8, and compare both with the trained network")
    # The quickstart shows both files: a slower INT8 is reported in the summary and does not stop the pipeline.
    command = (str(trained.folder), "--quantize", "--waive", "speed")
    exported = export_model(trained.folder, options=ExportOptions(quantize=True, waive=("speed",), arguments=command))
    say("3/5  Segment images that were not used for training")
    manifest = _predict(exported, load_dataset(data, seed=options.seed), options)
    say("4/5  Draw predictions beside the ground truth")
    picture = options.out / "predictions.png"
    draw_predictions(exported.int8, picture)
    say("5/5  Measure latency, FP32 and INT8 interleaved")
    summary = _summary(trained, exported, manifest, measure(_files(exported), options=MeasureOptions(seconds=3.0)))
    summary["files"] = {"run": str(trained.folder), "picture": str(picture), "labels": str(options.out / "labels")}
    write_json(options.out / "summary.json", summary)
    return summary


def draw_predictions(model: Path | None, picture: Path, *, data: str | None = None) -> None:
    """Write a PNG with images, ground truth and predictions of a model; `data` is as in `EvaluateOptions`."""
    models = [] if model is None else [model]
    evaluate_and_draw(models, options=EvaluateOptions(data=data), pictures=picture, samples=SAMPLES)


def _files(exported: ExportResult) -> list[Path]:
    return [path for path in (exported.float32, exported.int8) if path]


def _predict(exported: ExportResult, data: Dataset, options: QuickstartOptions) -> Manifest:
    """Write a few validation images as PNG and segment them from their files, as on a device."""
    images = options.out / "images"
    write_samples(data, split(data, seed=options.seed).val[:SAMPLES], images)
    segmenter = load(_files(exported)[-1])
    return predict_paths(
        segmenter, [str(images)], options=PredictOptions(out=options.out / "labels", overlay=True, color=True)
    )


def _summary(
    trained: TrainResult, exported: ExportResult, manifest: Manifest, measured: Mapping[str, Any]
) -> dict[str, Any]:
    proven: ModelContract = exported.int8_contract or exported.contract
    models = {
        name: {
            "path": row["path"],
            "size_bytes": row["size_bytes"],
            "latency_ms": row["latency_ms"],
            **{
                key: proven.metrics[name][key]
                for key in ("pixel_accuracy", "foreground_mean_iou", "foreground_mean_dice")
            },
        }
        for name, row in zip(("float32", "int8"), measured["models"], strict=True)
    }
    return {
        "epochs": trained.epochs,
        "training_seconds": trained.seconds,
        "models": models,
        "speed": proven.gates["speed"]["sentence"],
        "predicted": manifest.counts["done"],
        "machine": measured["machine"],
    }
