"""Resume an earlier run in the same folder, or refuse to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from segtool import __version__
from segtool.errors import ModelFileError, OutputExistsError, SegtoolError
from segtool.files import refuse_existing, sha256_of
from segtool.predict.journal import Journal
from segtool.predict.manifest import MANIFEST_NAME, Entry, read_manifest
from segtool.predict.naming import joined
from segtool.predict.predict_options import PredictOptions
from segtool.runtime.segmenter import Segmenter
from segtool.runtime.sources import Source, input_facts

_IDENTITY = {"model_sha256": "another model", "kinds": "other kinds of output", "tile": "another --tile"}
"""Facts that must be equal to resume a run, and the message for each that differs."""

_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"


def run_header(segmenter: Segmenter, options: PredictOptions) -> dict[str, Any]:
    """Return the facts of a run for its manifest and journal: time, model and options."""
    return {
        "segtool_version": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "folder": str(Path.cwd()),
        "model": str(segmenter.path),
        "model_sha256": _fingerprint(segmenter.path),
        **segmenter.provider_report,
        "precision": segmenter.contract.precision,
        "kinds": list(options.kinds),
        "tile": "x".join(map(str, options.tile)) if isinstance(options.tile, tuple) else options.tile,
        "class_names": list(segmenter.contract.class_names),
    }


def earlier_entries(journal: Journal, header: Mapping[str, Any], options: PredictOptions) -> dict[str, Entry]:
    """Return the last entry of each input of earlier runs, by its absolute path; none without --resume.

    Inputs are named as this process reaches them, and are found again under any name that reaches the same file.

    Raises
    ------
    OutputExistsError
        There was an earlier run, and neither --resume nor --overwrite was given; or it had another model or other
        options, and --overwrite was not given.
    DataError
        The manifest is damaged.
    """
    if not options.resume:
        _refuse_earlier(journal, options)
        return {}
    path = options.out / MANIFEST_NAME
    manifest = read_manifest(path) if path.exists() else None
    lines = journal.lines()
    begun = next((line["header"] for line in lines if "header" in line), None)
    differing = _differing(begun or (manifest.header if manifest else header), header)
    if differing and not options.overwrite:
        raise OutputExistsError(
            f"{options.out} contains predictions with {' and '.join(differing)}, so this run cannot resume them; "
            "use the same model and options, choose another --out, or pass --overwrite to replace them."
        )
    found: dict[str, Entry] = {}
    if differing:
        return found
    here = header["folder"]
    if manifest is not None and not _differing(manifest.header, header):
        for entry in manifest.entries:
            _add(found, entry, folder=manifest.header.get("folder", here), here=here)
    folder = (begun or header).get("folder", here)
    for line in lines:
        if "header" in line:  # of a run that resumed
            folder = line["header"].get("folder", here)
        elif (noted := Entry.from_dict(line)) is not None:
            _add(found, noted, folder=folder, here=here)
    return found


def _add(found: dict[str, Entry], entry: Entry, *, folder: str, here: str) -> None:
    """Add an entry of a run whose working folder was `folder`, under the absolute path of its input."""
    path = os.path.normpath(joined(folder, entry.input))
    if folder != here:
        entry.input = path
    found[path] = entry


def _refuse_earlier(journal: Journal, options: PredictOptions) -> None:
    """Refuse a folder with the journal or the manifest of another run, unless --overwrite was given."""
    if journal.path.stat().st_size and not options.overwrite:
        raise OutputExistsError(
            f"{options.out} contains an incomplete run; pass --resume to finish it, --overwrite to start again, "
            "or choose another --out."
        )
    refuse_existing(
        options.out / MANIFEST_NAME,
        overwrite=options.overwrite,
        otherwise="--resume to add to that run, or choose another --out",
    )


def _differing(earlier: Mapping[str, Any], header: Mapping[str, Any]) -> list[str]:
    """Return what an earlier run did in another way."""
    return [words for key, words in _IDENTITY.items() if earlier.get(key) != header[key]]


def is_done(entry: Entry, source: Source, out: Path) -> bool:
    """Return whether an earlier run did this image in its present state, and its outputs exist to their end."""
    if entry.status not in ("done", "skipped"):
        return False
    try:
        if not all(_has_end(out / name) for name in entry.outputs.values()):
            return False
        state = source.path.stat()
        if (state.st_size, state.st_mtime_ns) == (entry.bytes, entry.mtime_ns):
            return True
        return input_facts(source).sha256 == entry.sha256
    except (OSError, SegtoolError):
        return False


def _has_end(output: Path) -> bool:
    """Return whether an output is not empty, and a PNG not cut off; raise OSError if it cannot be read.

    Not its SHA-256: a label map that was corrected by hand is kept.
    """
    with output.open("rb") as stream:
        stream.seek(-len(_PNG_END), os.SEEK_END)
        return output.suffix != ".png" or stream.read() == _PNG_END


def _fingerprint(model: Path) -> str:
    try:
        return sha256_of(model)
    except OSError as error:
        raise ModelFileError(
            f"{model} was opened but can no longer be read ({error.strerror}); do not move it during the run."
        ) from error
