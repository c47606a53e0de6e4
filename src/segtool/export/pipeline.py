"""`segtool export`: a trained network to a proven ONNX file, and on request to a proven INT8 one.

The FP32 file is published as soon as its own gate passed. An INT8 file that its gate refuses takes nothing with it:
the FP32 file stays, and the error says so.
"""

from __future__ import annotations

import logging
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from segtool import __version__
from segtool.contract import ModelContract
from segtool.errors import ExportError, GateError
from segtool.export.data import ExportData, check_fits, images_at_once, open_data
from segtool.export.float_form import float_form
from segtool.export.gates import compare_parity
from segtool.export.heads import end_of, with_head
from segtool.export.int8_file import export_int8
from segtool.export.job import Job, Made, Progress, measure, publish, save
from segtool.export.keras_to_onnx import keras_to_onnx
from segtool.export.options import ExportOptions, ExportResult
from segtool.export.passes import SHARED_REWRITES, log_outcomes, rewrite
from segtool.export.preflight import check_int8_data, check_options
from segtool.export.presets import preset_for
from segtool.export.resize.rebuild import check_size, rebuild
from segtool.export.resize.warnings import size_warning, untrained_taps
from segtool.export.runners import as_labels, as_probabilities, keras_runner, onnx_runner
from segtool.export.verdict import judge, useless
from segtool.files import refuse_existing
from segtool.models import ModelSource, find_model, load_keras_file
from segtool.models.custom import load_custom
from segtool.models.predictor import contract_of
from segtool.models.resolve import ONNX_NAME

logger = logging.getLogger(__name__)


def export_model(
    source: str | Path | None = None, *, options: ExportOptions | None = None, progress: Progress | None = None
) -> ExportResult:
    """Export a trained network.

    Parameters
    ----------
    source
        A run folder, a .keras or a legacy .h5 file; None for runs/latest.
    options
        How; None for the defaults.
    progress
        Called with (done, total) images while the validation split is evaluated.

    Raises
    ------
    GateError
        A gate refused. Nothing is at the refused file's path; an FP32 file that passed its own stays.
    SegtoolError
        The model, the data or the outputs are not usable; the message says why.
    """
    options = options or ExportOptions()
    found = find_model(source, kind="keras")
    if found.run and found.run.info.get("status") == "running":
        logger.warning("The training of %s is not complete: its best model so far is exported.", found.run.path)
    target, int8_target = output_paths(found, options)
    check_options(options)
    if options.size is not None:
        check_size(options.size)
    preset = preset_for(options.preset)
    custom = load_custom(options.custom) if options.custom else None
    model = load_keras_file(found.path, custom=custom)
    data = open_data(found.run, options.data)
    if options.quantize:
        check_int8_data(data)
    contract = _contract(model, found, data, options)
    model, contract, warnings = _resized(model, contract, options.size)
    with tempfile.TemporaryDirectory(prefix="segtool-") as folder:
        job = Job(options, data, Path(folder), progress)
        made = _export_float32(model, contract, job, target)
        if int8_target is None:
            return ExportResult(target, made.contract, warned=(*warnings, *made.warned))
        try:
            int8 = export_int8(made, job, preset, int8_target)
        except GateError as error:
            stale = f" {int8_target} is still that of an earlier export." if int8_target.exists() else ""
            raise GateError(f"{error} The FP32 file {target} passed and was written.{stale}") from error
    return ExportResult(target, made.contract, int8_target, int8, (*warnings, *made.warned))


def output_paths(source: ModelSource, options: ExportOptions) -> tuple[Path, Path | None]:
    """Return where the FP32 and, with `quantize`, the INT8 file go; refuse what exists and may not be replaced."""
    target = source.path.with_name(_default_name(options.size)) if options.out is None else Path(options.out)
    if target.suffix.lower() != ".onnx" or target.is_dir():
        raise ExportError(
            f"The output {target} is not the name of an .onnx file; give one such as model.onnx with --out."
        )
    refuse_existing(target, overwrite=options.overwrite)
    if not options.quantize:
        return target, None
    return target, refuse_existing(target.with_name(f"{target.stem}.int8.onnx"), overwrite=options.overwrite)


def _default_name(size: tuple[int, int] | None) -> str:
    """Return the FP32 file's name: model.onnx, predict's default, or another name for another size."""
    if size is None:
        return ONNX_NAME
    return f"{Path(ONNX_NAME).stem}.{size[0]}x{size[1]}.onnx"


def _contract(model: Any, source: ModelSource, data: ExportData, options: ExportOptions) -> ModelContract:
    run = source.run
    contract = contract_of(
        model, data=run.data if run else data.facts(), split=run.split if run else None, source=str(source.path)
    )
    contract = replace(contract, size_policy=options.size_policy or contract.size_policy)
    check_fits(data.dataset, contract)
    return replace(contract, head=options.head, versions=_versions(), arguments=options.arguments)


def _resized(
    model: Any, contract: ModelContract, size: tuple[int, int] | None
) -> tuple[Any, ModelContract, tuple[str, ...]]:
    """Rebuild the network where another size than its own is asked for; return it, its contract, and warnings.

    What follows, gates and all, has that size.
    """
    own = (contract.height, contract.width)
    if size in (None, own):
        return model, contract, ()
    height, width = size
    rebuilt = rebuild(model, size)
    resized = replace(contract, height=height, width=width, trained_size=own)
    found = (_untrained(untrained_taps(model, rebuilt), resized), size_warning(model, resized))
    warnings = tuple(text for text in found if text)
    for text in warnings:
        logger.warning(text)
    return rebuilt, resized, warnings


def _untrained(phrases: list[str], contract: ModelContract) -> str | None:
    if not phrases or contract.trained_size is None:
        return None
    trained = "{}x{}".format(*contract.trained_size)
    return (
        f"{', '.join(phrases)} met only padding at {trained}, so the training left them as they began, and they take "
        f"part at {contract.height}x{contract.width}: expect less accuracy than from training at that size."
    )


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    names = ("tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime", "numpy")
    return {"segtool": __version__, **{name: version(name) for name in names}}


def _export_float32(model: Any, contract: ModelContract, job: Job, target: Path) -> Made:
    """Convert, rewrite, compare with Keras, measure and publish."""
    options = job.options
    converted = keras_to_onnx(model, opset=options.opset)
    base, shared = rewrite(with_head(converted, options.head), SHARED_REWRITES)
    count = max(2, images_at_once(contract, most=options.parity_images))  # the gate compares a batch and single images
    images = job.data.real_images(count, contract)
    form = float_form(base, images, job)
    warned = (form.warning,) if form.warning else ()
    for text in warned:
        logger.warning(text)
    log_outcomes((*shared, *form.outcomes))
    run, _ = onnx_runner(save(form.graph, job.folder / "float32.onnx"))
    labels = as_labels(run, contract.label_dtype)
    keras = as_probabilities(keras_runner(model), end_of(converted))
    probabilities = as_probabilities(run, options.head)
    if options.head == "labels":
        scores, _ = rewrite(converted, (*SHARED_REWRITES, *form.rewrites))
        scored, _ = onnx_runner(save(scores, job.folder / "scores.onnx"))
        probabilities = as_probabilities(scored, end_of(converted))
    parity = compare_parity(images, keras=keras, probabilities=probabilities, labels=labels)
    proof = judge(parity, waive=options.waive)
    score, metrics = measure(run, job, contract)
    if poor := useless({"float32": metrics}):
        logger.warning(poor)
    proven = replace(
        contract,
        convolutions=form.facts,
        metrics={"float32": metrics} if metrics else {},
        gates={"parity": proof},
    )
    digest = publish(form.graph, proven, job, target, labels)
    return Made(base, proven, score, run, digest, warned)
