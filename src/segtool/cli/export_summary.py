"""What `segtool export` prints at its end: the files, the figures of the gates, and the next command."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from segtool.cli.common import say
from segtool.cli.tables import emit_table
from segtool.contract import ModelContract
from segtool.errors import ModelFileError
from segtool.export.options import ExportResult
from segtool.text import counted, percent


def print_summary(result: ExportResult, *, source: Path | None, data: str | None) -> None:
    """Print the written files with their accuracy, what the gates found, and the next command.

    Parameters
    ----------
    result
        Of the export.
    source, data
        The network and the data SPEC as named; None for the defaults.
    """
    metrics = (result.int8_contract or result.contract).metrics
    files = {"float32": result.float32, "int8": result.int8}
    emit_table(
        ["file", "size MB", "pixel accuracy %", "foreground mean IoU %", "foreground mean Dice %"],
        [
            [
                path,
                f"{path.stat().st_size / 1e6:.2f}",
                *(
                    percent(metrics.get(name, {}).get(key))
                    for key in ("pixel_accuracy", "foreground_mean_iou", "foreground_mean_dice")
                ),
            ]
            for name, path in files.items()
            if path
        ],
        title="Exported and proven; accuracy on validation images",
    )
    for sentence in _sentences(result):
        say(sentence)
    named = "" if _is_default(result.deployed) else f" --model {shlex.quote(str(result.deployed))}"
    say(f"Next: segtool predict {_images_of(_data_of(source, data))}{named}")


def _sentences(result: ExportResult) -> Iterator[str]:
    """Yield what the gates found, what was done to the files, and which of them to deploy."""
    contract, int8 = result.contract, result.int8_contract
    parity = contract.gates["parity"]
    yield (
        f"Parity with the network as it came, on {counted(parity['images'], 'image')}: probabilities within "
        f"{parity['max_difference']:.1e}, {parity['label_agreement']:.4%} of the labels agree."
    )
    if sentence := _of_convolutions(contract.convolutions):
        yield sentence
    if int8:
        if sentence := _of_pruning(int8):
            yield sentence
        yield f"INT8 against FP32 on this machine: {int8.gates['speed']['sentence']}."
    if contract.trained_size:
        yield _of_size(contract, contract.trained_size)
    if result.int8:
        best = f" {result.deployed}" if result.recommendation.file else ""
        yield f"Deploy{best}: {result.recommendation.reason}."
    if result.triton:
        yield serving(result.triton)


def serving(folder: Path) -> str:
    """Return how to serve a folder of a Triton repository, for a message."""
    return f"To serve {folder}: tritonserver --model-repository {shlex.quote(str(folder.parent))}"


def _of_size(contract: ModelContract, trained: tuple[int, int]) -> str:
    """Return how a network that was rebuilt for another size takes images."""
    how = (
        "larger images are cut into tiles of this size"
        if contract.size_policy == "tile"
        else "images are resized to this size, so objects have another scale than in training"
    )
    return (
        f"The network was trained at {_spell(trained)} and rebuilt for {_spell(contract.size)}: "
        f"{how}. The accuracy above is measured this way."
    )


def _of_convolutions(facts: Mapping[str, Any]) -> str | None:
    """Return how the FP32 file computes its convolutions, if both ways were timed."""
    if "winograd_speedup" not in facts:
        return None
    times = f"{facts['low']:.2f} to {facts['high']:.2f} times as fast on this machine with one thread"
    if facts["algorithm"] == "direct":
        return f"The FP32 file does not use Winograd's convolutions: they would be {times}."
    return f"The FP32 file uses Winograd's convolutions: {times}. For a GPU or a browser, export with --winograd off."


def _of_pruning(contract: ModelContract) -> str | None:
    """Return how much was removed from the INT8 file, if pruning was requested."""
    found = contract.quantization.get("pruned")
    if found is None:
        return None
    if "lost_points" in found:
        return f"Pruned nothing: INT8 lost {found['lost_points']:.2f} points without the channels."
    if not found["channels"]:
        return "Pruned nothing: removing any channel changes more labels than --prune allows."
    count, agreement = len(found["channels"]), contract.gates["accuracy"]["label_agreement"]
    return (
        f"Pruned {counted(count, 'convolution')} of the INT8 file, {found['macs_saved']:.0%} of the "
        f"multiply-accumulates. {found['label_agreement']:.3%} of the labels are unchanged on "
        f"{found['images_checked']} training images that the pruning did not use; after quantization, {agreement:.3%} "
        "on validation images."
    )


def _is_default(model: Path) -> bool:
    """Return whether predict uses this file by default."""
    from segtool.models.resolve import latest_exported

    try:
        return latest_exported().resolve() == model.resolve()
    except ModelFileError:
        return False


def _data_of(source: Path | None, data: str | None) -> str | None:
    """Return the SPEC of the data that the export was verified on; None if unknown."""
    from segtool.models.resolve import find_model

    is_file = source is not None and source.is_file()
    run = find_model(source, kind=None if is_file else "keras").run
    return data or (str(run.data["spec"]) if run else None)


def _images_of(spec: str | None) -> str:
    """Return example images for the next command, as typed in a shell: from the data, or those written by train."""
    from segtool.data.generator import GENERATOR_NAME
    from segtool.data.layout import find_places

    folder = Path(spec or "").expanduser()
    places = find_places(folder) if spec and folder.is_dir() else []
    found = {place.part: place.images for place in places if place.images.is_dir()}
    for part in ("test", "val", "", "train"):
        if part in found:
            return shlex.quote(str(found[part]))
    is_built_in = (spec or "").partition(":")[0] == GENERATOR_NAME
    return "images/*.png" if is_built_in and any(Path("images").glob("*.png")) else "YOUR_IMAGES"


def _spell(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
