"""`segtool export`: a trained network to a proven ONNX file, and on request to a proven INT8 one.

The FP32 file is published as soon as its own gate passed. An INT8 file that its gate refuses takes nothing with it:
the FP32 file stays, and the error says so.
"""

from __future__ import annotations

import logging
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from segtool import __version__
from segtool.contract import ModelContract
from segtool.errors import DataError, ExportError, GateError
from segtool.export import gates
from segtool.export.data import ExportData, check_fits, images_at_once, open_data
from segtool.export.heads import with_head
from segtool.export.int8_file import export_int8
from segtool.export.job import Job, Made, Progress, measure, publish, save
from segtool.export.keras_to_onnx import check_opset, keras_to_onnx
from segtool.export.options import ExportOptions, ExportResult
from segtool.export.passes import FLOAT_REWRITES, SHARED_REWRITES, log_outcomes, rewrite
from segtool.export.quantize import preset_for
from segtool.export.runners import as_labels, keras_runner, onnx_runner
from segtool.files import refuse_existing
from segtool.models import ModelSource, find_model, load_keras_file
from segtool.models.predictor import contract_of
from segtool.models.resolve import INT8_NAME, ONNX_NAME

logger = logging.getLogger(__name__)


def export_model(
    source: str | Path | None = None, *, options: ExportOptions | None = None, progress: Progress | None = None
) -> ExportResult:
    """Export a trained network.

    Parameters
    ----------
    source
        A run folder or a .keras file; None for runs/latest.
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
    check_opset(options.opset)
    preset = preset_for(options.preset)
    model = load_keras_file(found.path)
    data = open_data(found.run, options.data)
    if options.quantize and not data.split.val.size:
        raise DataError(
            f"INT8 needs validation images to prove its accuracy on, and {data.dataset.name} has none; "
            "name data with a validation split with --data, or export without --quantize."
        )
    contract = _contract(model, found, data, options)
    with tempfile.TemporaryDirectory(prefix="segtool-") as folder:
        job = Job(options, data, Path(folder), progress)
        made = _export_float32(model, contract, job, target)
        if int8_target is None:
            return ExportResult(target, made.contract)
        try:
            int8 = export_int8(made, job, preset, int8_target)
        except GateError as error:
            raise GateError(f"{error} The FP32 file {target} passed and was written.") from error
    return ExportResult(target, made.contract, int8_target, int8, _warnings(int8))


def output_paths(source: ModelSource, options: ExportOptions) -> tuple[Path, Path | None]:
    """Return where the FP32 and, with `quantize`, the INT8 file go; refuse what exists and may not be replaced."""
    if options.out is None:
        target, int8 = source.path.with_name(ONNX_NAME), source.path.with_name(INT8_NAME)
    else:
        target = Path(options.out)
        if target.suffix.lower() != ".onnx" or target.is_dir():
            raise ExportError(
                f"The output {target} is not the name of an .onnx file; give one such as model.onnx with --out."
            )
        int8 = target.with_name(f"{target.stem}.int8.onnx")
    refuse_existing(target, overwrite=options.overwrite)
    if not options.quantize:
        return target, None
    return target, refuse_existing(int8, overwrite=options.overwrite)


def _contract(model: Any, source: ModelSource, data: ExportData, options: ExportOptions) -> ModelContract:
    run = source.run
    contract = contract_of(
        model, data=run.data if run else data.facts(), split=run.split if run else None, source=str(source.path)
    )
    check_fits(data.dataset, contract)
    if options.size not in (None, (contract.height, contract.width)):
        raise ExportError(
            f"A size of {options.size[0]}x{options.size[1]} was asked for and the network was built for "
            f"{contract.height}x{contract.width}; leave --size out, or train at that size."
        )
    return replace(contract, head=options.head, size_policy=options.size_policy, versions=_versions())


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    names = ("tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime", "numpy")
    return {"segtool": __version__, **{name: version(name) for name in names}}


def _export_float32(model: Any, contract: ModelContract, job: Job, target: Path) -> Made:
    """Convert, rewrite, compare with Keras, measure and publish."""
    options = job.options
    converted = keras_to_onnx(model, opset=options.opset)
    base, shared = rewrite(with_head(converted, options.head), SHARED_REWRITES)
    graph, own = rewrite(base, FLOAT_REWRITES)
    log_outcomes((*shared, *own))
    scores, _ = rewrite(converted, (*SHARED_REWRITES, *FLOAT_REWRITES))
    run, _ = onnx_runner(save(graph, job.folder / "float32.onnx"))
    probabilities, _ = onnx_runner(save(scores, job.folder / "probabilities.onnx"))
    count = max(2, images_at_once(contract, most=options.parity_images))  # the gate compares a batch and single images
    images = job.data.real_images(count, contract)
    labels = as_labels(run, contract.label_dtype)
    parity = gates.check_parity(images, keras=keras_runner(model), probabilities=probabilities, labels=labels)
    score, metrics = measure(labels, job, contract)
    proven = replace(contract, metrics={"float32": metrics} if metrics else {}, gates={"parity": asdict(parity)})
    digest = publish(graph, proven, job, target, labels)
    return Made(base, proven, score, run, digest)


def _warnings(contract: ModelContract) -> tuple[str, ...]:
    speed = contract.gates["speed"]
    if speed["verdict"] == "faster":
        return ()
    interval = f"ratio {speed['ratio']:.2f}, {speed['low']:.2f} to {speed['high']:.2f}"
    text = f"INT8 against FP32 on this machine: {speed['sentence']} ({interval})."
    logger.warning(text)
    return (text,)
