"""Writing data: a generated set in M2NIST's own layout, samples as PNG files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segtool import files
from segtool.array_types import AnyArray, IndexArray
from segtool.data.array_files import IMAGES_FILE, LABELS_FILE
from segtool.data.arrays import blocks
from segtool.data.base import Dataset
from segtool.data.generator import generate
from segtool.data.metadata import FILE_NAME
from segtool.images.pictures import write_image


def make_m2nist(out: Path, *, count: int, seed: int, onehot: bool = True, overwrite: bool = False) -> None:
    """Write generated images as combined.npy and segmented.npy, with a dataset.json.

    Each file appears when it is whole, dataset.json last. It holds the parts: the last fifth is for validation, and
    shares no digit with the rest. Errors are those of `segtool.files` and of `segtool.data.generator.generate`.

    Parameters
    ----------
    out
        Folder; it is created if needed.
    count, seed
        As in `segtool.data.generator.generate`.
    onehot
        Whether segmented.npy is one-hot uint8 (N, 64, 84, 11), as on Kaggle, or class ids uint8 (N, 64, 84).
    overwrite
        Replace existing files.
    """
    targets = [files.refuse_existing(out / name, overwrite=overwrite) for name in (IMAGES_FILE, LABELS_FILE, FILE_NAME)]
    dataset = generate(count, seed=seed)
    images, labels = dataset.arrays(range(count))
    pixels = images[..., 0]
    files.write_with(targets[0], lambda path: _write_npy(path, pixels))
    files.write_with(
        targets[1], lambda path: _write_npy(path, labels, channels=dataset.num_classes if onehot else None)
    )
    description = {
        "classes": [{"name": name} for name in dataset.class_names],
        "background": dataset.background_id,
        "ignore_id": None,
        "splits": {name: [int(part[0]), int(part[-1]) + 1] for name, part in (dataset.splits or {}).items()},
        "provenance": dict(dataset.provenance),
    }
    files.write_json(targets[2], description)


def write_samples(dataset: Dataset, indices: IndexArray, folder: Path) -> list[Path]:
    """Write the images of some samples as PNG files, named after them; return the paths.

    Errors are those of `segtool.files`.
    """
    paths = [folder / f"{Path(dataset.sample_names[int(index)]).with_suffix('').as_posix()}.png" for index in indices]
    for path in paths:
        files.refuse_existing(path, overwrite=False)
    for path, index in zip(paths, indices, strict=True):
        write_image(path, dataset.image(int(index)))
    return paths


def _write_npy(path: Path, array: AnyArray, *, channels: int | None = None) -> None:
    """Write a .npy file block by block, so that a one-hot array never exists as a whole.

    Not memory-mapped: on a full disk, a write to a map ends the process instead of raising.
    """
    shape = array.shape if channels is None else (*array.shape, channels)
    header = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": shape}
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        for part in blocks(array, row_bytes=array[0].nbytes * (channels or 1)):
            block = array[part]
            if channels is not None:
                block = (block[..., np.newaxis] == np.arange(channels)).astype(np.uint8)
            stream.write(np.ascontiguousarray(block).tobytes())
