"""`segtool export`: from a trained network to a proven ONNX file, and on request to a proven INT8 file.

The steps, in order:

1. `_open` opens the network and the data, finds out what the network takes and gives (`network`), brings its graph into
   one form, and refuses what cannot be exported.
2. `float32_file` rewrites the graph, compares it with the network as it came (parity), and publishes the file.
3. `int8_file` quantizes the graph, compares it with FP32 (accuracy, speed), and publishes the file.

Each file is published as soon as its own gates passed. If a gate refuses the INT8 file, the FP32 file stays, and the
error says so.
"""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from segtool import __version__
from segtool.contract import ModelContract
from segtool.errors import ExportError, GateError, OutputWriteError
from segtool.export.data import ExportData, check_fits, open_data
from segtool.export.float32_file import export_float32
from segtool.export.int8_file import export_int8
from segtool.export.job import Job
from segtool.export.network.keras_network import KerasNetwork, rebuilt_for
from segtool.export.network.onnx_network import read_onnx
from segtool.export.network.opening import Network, Raw, open_network
from segtool.export.options import DEFAULT_OPSET, ExportOptions, ExportResult
from segtool.export.preflight import check_int8_data, check_options, output_paths
from segtool.export.presets import preset_for
from segtool.export.resize.warnings import size_warnings
from segtool.export.stages import StageLog, Stages, silent
from segtool.export.trained import Trained
from segtool.export.triton import model_folder, write_model
from segtool.files import temporary_folder
from segtool.models.backend import import_quietly
from segtool.models.custom import load_custom
from segtool.models.keras_file import as_functional, load_keras_file
from segtool.models.network import NetworkShape, check_exportable, contract_of
from segtool.models.quantization import read_quantization
from segtool.models.resolve import ModelSource, find_model

logger = logging.getLogger(__name__)


def export_model(
    source: str | Path | Any = None, *, options: ExportOptions | None = None, progress: Stages = silent
) -> ExportResult:
    """Export a trained network.

    Parameters
    ----------
    source
        A run folder, a .keras, .h5 or .onnx file, or a keras.Model; None for runs/latest.
    options
        How; None for the defaults.
    progress
        Called with the name of each stage and (done, total) of what it counts; with (0, 0) where that is not known.

    Raises
    ------
    GateError
        A gate refused. Nothing is at the refused file's path; an FP32 file that passed its own stays.
    SegtoolError
        The model, the data or the outputs are not usable; the message says why.
    """
    options = options or ExportOptions()
    result = _exported(source, options, progress)
    if options.triton is None:
        return result
    served = result.float32 if options.triton_gpu else result.deployed
    try:
        written = write_model(served, options.triton, gpu=options.triton_gpu, overwrite=options.overwrite)
    except OutputWriteError as error:
        raise OutputWriteError(
            f"{error} The export itself is complete; continue with `segtool export {served} --triton DIR`."
        ) from error
    return replace(result, triton=written)


def _exported(source: str | Path | Any, options: ExportOptions, progress: Stages) -> ExportResult:
    """Convert, measure and publish the FP32 file and, with `quantize`, the INT8 file."""
    with temporary_folder() as folder, closing(StageLog(progress)) as stages:
        job = _open(source, options, folder, stages)
        float32 = export_float32(job)
        warned = (*job.warned, *float32.warned)
        if job.int8_target is None:
            return ExportResult(job.target, float32.contract, warned=warned)
        try:
            int8 = export_int8(float32, job, job.int8_target)
        except GateError as error:
            stale = f" {job.int8_target} is still that of an earlier export." if job.int8_target.exists() else ""
            raise GateError(f"{error} The FP32 file {job.target} passed and was written.{stale}") from error
    return ExportResult(job.target, float32.contract, job.int8_target, int8, warned=warned)


def _open(source: str | Path | Any, options: ExportOptions, folder: Path, progress: Stages) -> Job:
    """Open the network and the data, and refuse what cannot be exported."""
    progress("opening", 0, 0)
    found = _find(source)
    if found.run and found.run.info.get("status") == "running":
        logger.warning("The training of %s is not complete: its best model so far is exported.", found.run.path)
    target, int8_target = output_paths(found, options)
    if options.triton is not None:
        model_folder(options.triton, target, overwrite=options.overwrite)
    check_options(options)
    raw = _raw(source, found, options, folder)
    trained = _trained(found, raw, options)
    preset = preset_for(trained.quantization.preset if trained and options.preset == "auto" else options.preset)
    data = open_data(found.run, options.data)
    if options.quantize:
        check_int8_data(data)
    progress("conversion", 0, 0)
    rebuilt = rebuilt_for(raw, options) if isinstance(raw, KerasNetwork) else None
    network = open_network(rebuilt or raw, data, options)
    contract = _contract(network, found, data, options)
    warned: tuple[str, ...] = ()
    if isinstance(raw, KerasNetwork) and rebuilt is not None:
        contract = replace(contract, trained_size=raw.size)
        warned = size_warnings(raw.model, rebuilt.model, contract)
        for text in warned:
            logger.warning(text)
    return Job(options, network, contract, data, preset, target, int8_target, folder, progress, warned, trained)


def _trained(found: ModelSource, raw: Raw, options: ExportOptions) -> Trained | None:
    """Return the scales that were trained with a network; refuse options that would undo them or be ignored."""
    quantization = read_quantization(found.run.path) if found.run and options.quantize else None
    if quantization is None or not isinstance(raw, KerasNetwork):
        return None
    given = {
        "--calibration": options.calibration != "auto",
        "--prune": options.prune is not None,
        "--size": options.size not in (None, raw.size),
    }
    if wrong := [name for name, used in given.items() if used]:
        raise ExportError(
            f"{found.path} was trained with --qat, and INT8 takes the scales of that training, so {wrong[0]} cannot be "
            f"used; leave it out, or export the run that --qat began with."
        )
    if options.preset != "auto" and preset_for(options.preset).largest_weight != quantization.largest_weight:
        raise ExportError(
            f"{found.path} was trained with --qat for the preset {quantization.preset} (integers up to "
            f"{quantization.largest_weight}), and --preset {options.preset} has others; leave --preset out, or train "
            f"again with `segtool train --qat RUN --preset {options.preset}`."
        )
    return Trained(raw.model, quantization)


def _find(source: str | Path | Any) -> ModelSource:
    """Find the network that the user named; a model in memory has a name and no file."""
    if source is None or isinstance(source, str | Path):
        is_folder = source is None or Path(source).is_dir()
        return find_model(source, kind="keras" if is_folder else None)
    return ModelSource(Path(f"{getattr(source, 'name', 'model')}.keras"), "keras")


def _raw(source: str | Path | Any, found: ModelSource, options: ExportOptions, folder: Path) -> Raw:
    """Open the network as it came."""
    if found.kind == "onnx":
        if options.opset is not None:
            raise ExportError(
                "--opset is for Keras networks: an ONNX file keeps its own, or is raised to the tested one."
            )
        return read_onnx(found.path, folder)
    in_memory = not (source is None or isinstance(source, str | Path))
    custom = load_custom(options.custom) if options.custom else None
    model = _in_memory(source) if in_memory else load_keras_file(found.path, custom=custom)
    check_exportable(model)
    return KerasNetwork(model, str(found.path), options.opset or DEFAULT_OPSET)


def _in_memory(source: Any) -> Any:
    """Return a model in memory in the form of one from a file."""
    keras = import_quietly("keras", extra="export")
    if not isinstance(source, keras.Model):
        raise ExportError(
            f"A network of type {type(source).__name__} was given, expected a keras.Model or the path of a run "
            "folder, a .keras, .h5 or .onnx file."
        )
    return as_functional(source)


def _contract(network: Network, source: ModelSource, data: ExportData, options: ExportOptions) -> ModelContract:
    """Return the contract of the files, without what the steps measure; refuse data that do not fit it."""
    run, reading = source.run, network.reading
    contract = contract_of(
        NetworkShape(str(source.path), *reading.size, reading.taken.channels, reading.classes),
        data=run.data if run else data.facts(),
        split=run.split if run else None,
    )
    contract = replace(contract, size_policy=options.size_policy or contract.size_policy, network=network.facts)
    check_fits(data.dataset, contract)
    return replace(contract, head=options.head, versions=_versions(), arguments=options.arguments)


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    names = ("tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime", "numpy")
    return {"segtool": __version__, **{name: version(name) for name in names}}
