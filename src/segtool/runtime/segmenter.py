"""The segmenter: an exported model, from raw pixels to class ids."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.contract import GoldenPair, ModelContract
from segtool.errors import DataError, ModelFileError, ProviderError, SegtoolError
from segtool.runtime.arrays import FloatArray, IntegerArray, UInt8Array
from segtool.runtime.image_io import resize_image, resize_labels, to_channels
from segtool.runtime.processors import available_cpus
from segtool.runtime.scores import resize_planes, softmax
from segtool.runtime.session import ORT_ERRORS, OpenedSession, first_line, open_session
from segtool.runtime.signature import check_signature
from segtool.runtime.sources import Source, as_source, input_facts, read_source
from segtool.runtime.stream import Result, ordered_map
from segtool.runtime.tiling import TileOption, predict_tiled, uses_tiles
from segtool.runtime.verify import VerifyResult, compare_golden


def load(path: str | Path, *, provider: str = "auto", threads: int | None = None) -> Segmenter:
    """Open a model that segtool exported.

    Parameters
    ----------
    path
        The .onnx file.
    provider
        "auto" for the best that really starts, or a name: "cpu", "cuda", ...
    threads
        Threads of one run on the CPU; None for all that this process may use. With 1, `Segmenter.stream` runs
        an image on each processor, which gives the most images a second.

    Raises
    ------
    ModelFileError
        The file is missing or no model.
    ContractError
        It carries no contract, one of a newer version, or one that does not fit its graph.
    ProviderError
        A provider asked for by name does not run it.
    """
    source = Path(path)
    opened = open_session(source, provider=provider, threads=threads)
    metadata = opened.session.get_modelmeta().custom_metadata_map
    contract = ModelContract.from_metadata(metadata, source=str(source))
    check_signature(opened.session, contract, source)
    return Segmenter(source, opened, contract)


def verify(path: str | Path, *, provider: str = "auto", threads: int | None = None) -> VerifyResult:
    """Open a model and run its built-in golden test; arguments and errors as in `load` and `Segmenter.verify`."""
    return load(path, provider=provider, threads=threads).verify()


class Segmenter:
    """An exported model that maps images to class ids; made by `load`. Safe to use from several threads.

    Attributes
    ----------
    path
        The model file.
    contract
        What the file says of itself: input size, classes, palette, head, ...
    provider
        The execution provider that really runs it, by onnxruntime's name.
    provider_reason
        One sentence: why this provider was taken.
    threads
        Threads of one run on the CPU.
    """

    def __init__(self, path: Path, opened: OpenedSession, contract: ModelContract) -> None:
        self.path = path
        self.contract = contract
        self.provider = opened.provider
        self.provider_reason = opened.reason
        self.threads = opened.threads
        self._session = opened.session
        self._input_name: str = opened.session.get_inputs()[0].name
        # As many runs at a time as there are processors for: more would only wait for each other.
        self._slots = threading.BoundedSemaphore(max(1, available_cpus() // opened.threads))

    def __call__(self, image: npt.NDArray[Any], *, tile: TileOption = "auto") -> IntegerArray:
        """Return the class id of every pixel of one image.

        Parameters
        ----------
        image
            uint8 (H, W) or (H, W, C), C of 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA), 0..255, any size; grey
            and colour are converted to what the model expects.
        tile
            What is done with an image larger than the model: "auto" as the contract says, "never" resize, or
            the model's own (height, width) to tile.

        Returns
        -------
        numpy.ndarray
            (H, W) at the image's own size, uint8 (uint16 above 256 classes).
        """
        return self._labels(to_channels(image, self.contract.channels), tile)

    def predict_batch(self, images: UInt8Array) -> IntegerArray:
        """Return the labels (N, h, w) of images uint8 (N, h, w, C) that have the model's size already."""
        return self.postprocess(self.run(images), *self.input_size)

    def probabilities(self, image: npt.NDArray[Any], *, tile: TileOption = "auto") -> FloatArray:
        """Return the probability of every class at every pixel of one image.

        Parameters
        ----------
        image, tile
            As in a call. A resized image's probabilities are brought back by bilinear interpolation.

        Returns
        -------
        numpy.ndarray
            float32 (H, W, K), 0..1, summing to 1 over K; a model with the logits head goes through a softmax.

        Raises
        ------
        ModelFileError
            The model has the labels head, which gives none.
        """
        self.require_probabilities()
        return self._labels_and_probabilities(to_channels(image, self.contract.channels), tile)[1]

    def stream(
        self,
        paths: Iterable[str | Path | Source],
        *,
        workers: int | None = None,
        tile: TileOption = "auto",
        probabilities: bool = False,
        facts: bool = False,
        stop: Callable[[], bool] = lambda: False,
    ) -> Generator[Result, None, None]:
        """Read and label image files in several threads; yield a `Result` for each, in the order of `paths`.

        Parameters
        ----------
        paths
            Files, .npy files of one image among them, or images of a .npy stack as
            `segtool.runtime.sources.Source`; any iterable, read only a little further than what has been yielded.
        workers
            Threads that read, decode and wait for the model; None for one more than the processors.
        tile
            As in a call.
        probabilities
            Give those as well.
        facts
            Give what identifies the input as well, such as its SHA-256.
        stop
            Asked before each image; once it returns true none is begun, and those in work are still yielded.

        Notes
        -----
        A file that cannot be read, or a run that fails, is a `Result` with an `error`; the stream goes on. At
        most twice as many images as there are workers are in memory.
        """
        if probabilities:
            self.require_probabilities()
        if workers is not None and workers < 1:
            raise DataError(f"A stream needs at least 1 worker, {workers} were asked for.")
        count = available_cpus() + 1 if workers is None else workers

        def work(item: tuple[int, str | Path | Source]) -> Result:
            return self._work_on(item[0], as_source(item[1]), tile=tile, probabilities=probabilities, facts=facts)

        return ordered_map(work, enumerate(paths), workers=count, ahead=count, stop=stop)

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the model's input, in pixels."""
        return self.contract.height, self.contract.width

    def require_probabilities(self) -> None:
        """Refuse a model whose head gives no probabilities.

        Raises
        ------
        ModelFileError
            It has the labels head.
        """
        if self.contract.head == "labels":
            raise ModelFileError(
                f"{self.path} has the labels head, which gives class ids only; "
                "export it with --head probabilities (or logits) to get probabilities."
            )

    def golden(self) -> GoldenPair:
        """Return the golden pair that the file carries.

        Raises
        ------
        ContractError
            It carries none, or one that cannot be read.
        """
        metadata = self._session.get_modelmeta().custom_metadata_map
        return GoldenPair.from_metadata(metadata, source=str(self.path))

    def verify(self) -> VerifyResult:
        """Run the golden pair and compare; a mismatch is in the result, not an error.

        Raises
        ------
        ContractError
            The file carries no golden pair, or one that does not fit its model.
        """
        golden = self.golden()
        labels = self.predict_batch(golden.images)
        return compare_golden(golden, labels, path=self.path, provider=self.provider, precision=self.contract.precision)

    def preprocess(self, images: Sequence[UInt8Array]) -> UInt8Array:
        """Resize images (H, W, C) of any size to the model's and stack them: uint8 (N, h, w, C)."""
        return np.stack([resize_image(image, *self.input_size) for image in images])

    def run(self, batch: UInt8Array) -> npt.NDArray[Any]:
        """Run the graph on uint8 (N, h, w, C); return the head's own output, (N, h, w) or (N, h, w, K)."""
        expected = (*self.input_size, self.contract.channels)
        if batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[1:] != expected:
            raise DataError(
                f"The batch is {batch.dtype} {batch.shape}; expected uint8 (N, {', '.join(map(str, expected))})."
            )
        with self._slots:
            try:
                output: npt.NDArray[Any] = self._session.run(None, {self._input_name: batch})[0]
            except ORT_ERRORS as error:
                raise ProviderError(
                    f"{self.provider} failed on a batch of {len(batch)} ({first_line(error)}); "
                    "try --provider cpu or a smaller batch."
                ) from error
        return output

    def postprocess(self, output: npt.NDArray[Any], height: int, width: int) -> IntegerArray:
        """Turn the head's output for N inputs into labels (N, height, width)."""
        if self.contract.head == "labels":
            labels: IntegerArray = output
        else:
            labels = np.argmax(output, axis=-1).astype(self.contract.label_dtype)
        if labels.shape[1:] == (height, width):
            return labels
        return np.stack([resize_labels(one, height, width) for one in labels])

    def _labels(self, image: UInt8Array, tile: TileOption) -> IntegerArray:
        if uses_tiles(self.contract, _size(image), tile):
            return predict_tiled(image, self.input_size, self.predict_batch)
        labels: IntegerArray = self.postprocess(self.run(self.preprocess([image])), *_size(image))[0]
        return labels

    def _labels_and_probabilities(self, image: UInt8Array, tile: TileOption) -> tuple[IntegerArray, FloatArray]:
        """Return both from one run; the labels are those that `_labels` gives."""
        if uses_tiles(self.contract, _size(image), tile):
            shares: FloatArray = predict_tiled(image, self.input_size, lambda batch: self._to_shares(self.run(batch)))
            return self.postprocess(shares[np.newaxis], *_size(image))[0], shares
        output = self.run(self.preprocess([image]))
        labels = self.postprocess(output, *_size(image))[0]
        return labels, resize_planes(self._to_shares(output)[0], *_size(image))

    def _to_shares(self, output: FloatArray) -> FloatArray:
        return softmax(output) if self.contract.head == "logits" else output

    def _work_on(self, index: int, source: Source, *, tile: TileOption, probabilities: bool, facts: bool) -> Result:
        """Read and predict one image; whatever fails is in the result."""
        started = time.perf_counter()
        image = labels = shares = error = found = None
        try:
            found = input_facts(source) if facts else None
            image = read_source(source, channels=self.contract.channels)
            if probabilities:
                labels, shares = self._labels_and_probabilities(image, tile)
            else:
                labels = self._labels(image, tile)
        except SegtoolError as caught:
            error = caught
        except MemoryError:
            error = DataError(f"The prediction of {source.name} does not fit in memory; shrink or split it.")
        return Result(index, source.path, image, labels, error, time.perf_counter() - started, shares, found)


def _size(image: npt.NDArray[Any]) -> tuple[int, int]:
    return image.shape[0], image.shape[1]
