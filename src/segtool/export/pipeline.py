"""`segtool export`: from a trained network to a proven ONNX file, and on request to a proven INT8 file.

The steps, in order:

1. `_open` opens the network and the data, and refuses what cannot be exported.
2. `float32_file` converts the network, rewrites the graph, compares it with Keras (parity), and publishes the file.
3. `int8_file` quantizes the graph, compares it with FP32 (accuracy, speed), and publishes the file.

Each file is published as soon as its own gates passed. If a gate refuses the INT8 file, the FP32 file stays, and the
error says so.
"""

from __future__ import annotations

import logging
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from segtool import __version__
from segtool.contract import ModelContract
from segtool.errors import GateError
from segtool.export.data import ExportData, check_fits, open_data
from segtool.export.float32_file import export_float32
from segtool.export.int8_file import export_int8
from segtool.export.job import Job
from segtool.export.options import ExportOptions, ExportResult
from segtool.export.preflight import check_int8_data, check_options, output_paths
from segtool.export.presets import preset_for
from segtool.export.resize.rebuild import rebuild
from segtool.export.resize.warnings import size_warnings
from segtool.export.stages import StageLog, Stages, silent
from segtool.models import ModelSource, find_model, load_keras_file
from segtool.models.network import Network, check_exportable, contract_of, network_of

logger = logging.getLogger(__name__)


def export_model(
    source: str | Path | None = None, *, options: ExportOptions | None = None, progress: Stages = silent
) -> ExportResult:
    """Export a trained network.

    Parameters
    ----------
    source
        A run folder or a .keras file; None for runs/latest.
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
    with tempfile.TemporaryDirectory(prefix="segtool-") as folder:
        stages = StageLog(progress)
        job = _open(source, options or ExportOptions(), Path(folder), stages)
        float32 = export_float32(job)
        warned = (*job.warned, *float32.warned)
        if job.int8_target is None:
            return ExportResult(job.target, float32.contract, warned=warned)
        try:
            int8 = export_int8(float32, job, job.int8_target)
        except GateError as error:
            stale = f" {job.int8_target} is still that of an earlier export." if job.int8_target.exists() else ""
            raise GateError(f"{error} The FP32 file {job.target} passed and was written.{stale}") from error
    return ExportResult(job.target, float32.contract, job.int8_target, int8, warned)


def _open(source: str | Path | None, options: ExportOptions, folder: Path, progress: Stages) -> Job:
    """Open the network and the data, and refuse what cannot be exported."""
    progress("opening", 0, 0)
    found = find_model(source, kind="keras")
    if found.run and found.run.info.get("status") == "running":
        logger.warning("The training of %s is not complete: its best model so far is exported.", found.run.path)
    target, int8_target = output_paths(found, options)
    check_options(options)
    preset = preset_for(options.preset)
    model = load_keras_file(found.path)
    data = open_data(found.run, options.data)
    if options.quantize:
        check_int8_data(data)
    network = network_of(model, source=str(found.path))
    contract = _contract(network, found, data, options)
    check_exportable(network)
    model, contract, warned = _resized(model, contract, options.size)
    return Job(options, model, contract, data, preset, target, int8_target, folder, progress, warned)


def _contract(network: Network, source: ModelSource, data: ExportData, options: ExportOptions) -> ModelContract:
    """Return the contract of the files, without what the steps measure; refuse data that do not fit it."""
    run = source.run
    contract = contract_of(network, data=run.data if run else data.facts(), split=run.split if run else None)
    contract = replace(contract, size_policy=options.size_policy or contract.size_policy)
    check_fits(data.dataset, contract)
    return replace(contract, head=options.head, versions=_versions(), arguments=options.arguments)


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    names = ("tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime", "numpy")
    return {"segtool": __version__, **{name: version(name) for name in names}}


def _resized(
    model: Any, contract: ModelContract, size: tuple[int, int] | None
) -> tuple[Any, ModelContract, tuple[str, ...]]:
    """Rebuild the network if another size than its own is requested; return it, its contract, and warnings.

    What follows, gates included, has that size.
    """
    own = (contract.height, contract.width)
    if size in (None, own):
        return model, contract, ()
    height, width = size
    rebuilt, resized = rebuild(model, size), replace(contract, height=height, width=width, trained_size=own)
    warnings = size_warnings(model, rebuilt, resized)
    for text in warnings:
        logger.warning(text)
    return rebuilt, resized, warnings
