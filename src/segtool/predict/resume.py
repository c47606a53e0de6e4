"""What a run takes up from an earlier one into the same folder, and when it refuses to."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from segtool import __version__
from segtool.errors import ModelFileError, OutputExistsError, SegtoolError
from segtool.files import refuse_existing, sha256_of
from segtool.predict.journal import JOURNAL_NAME, Journal
from segtool.predict.manifest import MANIFEST_NAME, Entry, read_entries, read_head
from segtool.predict.predict_options import PredictOptions
from segtool.runtime.segmenter import Segmenter
from segtool.runtime.sources import Source, input_facts

_IDENTITY = {"model_sha256": "another model", "kinds": "other kinds of output", "tile": "another --tile"}
"""What must be equal for outputs to belong together, and what is said where it is not."""


def run_header(segmenter: Segmenter, options: PredictOptions) -> dict[str, Any]:
    """Return what a manifest and a journal say of a run: when, with what model and with which options."""
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


def refuse_earlier(options: PredictOptions) -> None:
    """Refuse a folder that has the journal or the manifest of another run, unless the options say what to do with it.

    Raises
    ------
    OutputExistsError
        There is one.
    """
    if options.resume or options.overwrite:
        return
    if (options.out / JOURNAL_NAME).exists():
        raise OutputExistsError(
            f"{options.out} holds a run that is not complete; pass --resume to finish it, --overwrite to start again, "
            "or choose another --out."
        )
    refuse_existing(options.out / MANIFEST_NAME, overwrite=False)


def take_up(journal: Journal, header: Mapping[str, Any], options: PredictOptions) -> None:
    """Load what an earlier run did, from its journal or else from its manifest, where the options ask for it.

    Raises
    ------
    OutputExistsError
        It had another model or other options, and --overwrite was not given.
    DataError
        The manifest is damaged.
    """
    if not options.resume:
        return
    earlier = journal.load()
    manifest = options.out / MANIFEST_NAME
    has_journal = earlier is not None
    if earlier is None and manifest.exists():
        earlier = read_head(manifest)
    if earlier is None:
        return
    differing = [words for key, words in _IDENTITY.items() if earlier.get(key) != header[key]]
    if differing and not options.overwrite:
        raise OutputExistsError(
            f"{options.out} holds predictions with {' and '.join(differing)}, which cannot be resumed with these; "
            "choose the same again, another --out, or pass --overwrite to replace them."
        )
    if differing:
        journal.drop()
    elif not has_journal:
        done = (entry for entry in read_entries(manifest) if entry.status in ("done", "skipped"))
        journal.adopt(done, str(earlier.get("folder", header["folder"])))


def is_done(entry: Entry, source: Source, out: Path) -> bool:
    """Tell whether an earlier run did this image, as it is now, and its outputs are there."""
    if entry.status not in ("done", "skipped") or not all((out / name).is_file() for name in entry.outputs.values()):
        return False
    try:
        state = source.path.stat()
        if (state.st_size, state.st_mtime_ns) == (entry.bytes, entry.mtime_ns):
            return True
        return input_facts(source).sha256 == entry.sha256
    except (OSError, SegtoolError):
        return False


def _fingerprint(model: Path) -> str:
    try:
        return sha256_of(model)
    except OSError as error:
        raise ModelFileError(
            f"{model} was opened but can no longer be read ({error.strerror}); keep it in its place until the end."
        ) from error
