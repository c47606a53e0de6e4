"""The segmenter: an exported model, from raw pixels to class ids."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.array_types import FloatArray, IntegerArray, UInt8Array
from segtool.contract import GoldenPair, ModelContract
from segtool.errors import DataError, ModelFileError, ProviderError, first_line
from segtool.images.decoding import MAX_PIXELS
from segtool.images.image_io import resize_labels, to_channels
from segtool.images.pixels import ArrayPixels, resize_image
from segtool.machine.processors import available_cpus
from segtool.runtime.postprocess import best, label, label_and_score
from segtool.runtime.session import ORT_ERRORS, OpenedSession
from segtool.runtime.signature import check_output
from segtool.runtime.sources import Source, as_source
from segtool.runtime.stream import Reading, Result, StreamOptions, ordered_map, predict_image, read_image, worker_count
from segtool.runtime.tiling import TileOption
from segtool.runtime.verify import VerifyResult, compare_golden


class Segmenter:
    """An exported model that maps images to class ids; created by `segtool.load`. Safe to use from several threads.

    Attributes
    ----------
    path
        The model file.
    contract
        The contract in the file: input size, classes, palette, head, ...
    provider
        The execution provider that runs it, by onnxruntime's name.
    provider_reason
        One sentence: why this provider was selected.
    provider_report
        All facts about the provider, ready for JSON: `provider`, `provider_reason`, `provider_options`,
        `provider_nodes` (the number of nodes of the graph that it runs; null if unknown), `refused_providers` (those
        that auto did not select, each with the reason) and `threads`.
    threads
        Threads of one run on the CPU.
    """

    def __init__(self, path: Path, contract: ModelContract, opened: OpenedSession) -> None:
        self.path = path
        self.contract = contract
        self.provider = opened.provider
        self.provider_reason = opened.reason
        self.provider_report = opened.report()
        self.threads = opened.threads
        self._session = opened.session
        self._metadata = opened.metadata
        self._input_name: str = opened.session.get_inputs()[0].name
        # As many parallel runs as the processors allow: more would only wait for each other.
        self._large = threading.Lock()
        self._slots = threading.BoundedSemaphore(max(1, available_cpus() // opened.threads))

    def __call__(self, image: npt.NDArray[Any], *, tile: TileOption = "auto") -> IntegerArray:
        """Return the class id of every pixel of one image.

        Parameters
        ----------
        image
            uint8 (H, W) or (H, W, C), C of 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA), 0..255, any size; grey
            and colour are converted to what the model expects.
        tile
            How to process an image larger than the model's input: "auto" follows the contract, "never" resizes it,
            and the (height, width) of the input cuts it into tiles.

        Returns
        -------
        numpy.ndarray
            (H, W) at the size of the image, uint8 (uint16 above 256 classes).
        """
        pixels = ArrayPixels(to_channels(image, self.contract.channels))
        return label(pixels, self.contract, self.run, tile)

    def predict_batch(self, images: UInt8Array) -> IntegerArray:
        """Return the labels (N, h, w) of images uint8 (N, h, w, C) that have the size of the model's input."""
        return self.postprocess(self.run(images), *self.input_size)

    def probabilities(self, image: npt.NDArray[Any], *, tile: TileOption = "auto") -> FloatArray:
        """Return the probability of each class at each pixel of one image.

        Parameters
        ----------
        image, tile
            As in a call. The probabilities of a resized image are resized back by the nearest pixel centre, as its
            labels are, so the labels of a call are their arg-max.

        Returns
        -------
        numpy.ndarray
            float32 (H, W, K), 0..1, summing to 1 over K; the output of the logits head passes a softmax.

        Raises
        ------
        ModelFileError
            The model has the labels head, which has no probabilities.
        """
        self.require_probabilities()
        pixels = ArrayPixels(to_channels(image, self.contract.channels))
        return label_and_score(pixels, self.contract, self.run, tile)[1]

    def stream(
        self,
        paths: Iterable[str | Path | Source],
        *,
        workers: int | None = None,
        tile: TileOption = "auto",
        probabilities: bool = False,
        keep_images: bool = True,
        max_pixels: int = MAX_PIXELS,
    ) -> Generator[Result, None, None]:
        """Read and label image files in several threads; yield a `Result` for each, in the order of `paths`.

        Parameters
        ----------
        paths
            Files, including .npy files of one image, or images of a .npy stack as
            `segtool.runtime.sources.Source`; any iterable, read only slightly ahead of the yielded results.
        workers
            Threads that read, decode and wait for the model; None for one more than the number of processors.
        tile
            As in a call.
        probabilities
            Also return the probabilities.
        keep_images
            Also return the images; without them a large image is in memory once, as decoded.
        max_pixels
            Images with more pixels are refused before they are decoded.

        Notes
        -----
        A file that cannot be read, or a run that fails, is a `Result` with an `error`; the stream continues. At
        most twice as many images as workers are in memory. Images above 32 megapixels are processed one at a time.
        """
        if probabilities:
            self.require_probabilities()
        if max_pixels < 1:
            raise DataError(f"max_pixels is {max_pixels}, expected at least 1; raise it.")
        count = worker_count(workers)
        options = StreamOptions(tile, probabilities, keep_images, max_pixels)

        def work(item: tuple[int, str | Path | Source]) -> Result:
            return self.work_on(item[0], as_source(item[1]), options=options)

        return ordered_map(work, enumerate(paths), workers=count, ahead=count)

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the model's input, in pixels."""
        return self.contract.size

    def require_probabilities(self) -> None:
        """Refuse a model whose head has no probabilities.

        Raises
        ------
        ModelFileError
            It has the labels head.
        """
        if self.contract.head == "labels":
            raise ModelFileError(
                f"{self.path} has the labels head, which outputs only class ids; "
                "for probabilities, export it with --head probabilities (or logits)."
            )

    def golden(self) -> GoldenPair:
        """Return the golden pair in the file.

        Raises
        ------
        ContractError
            The file has none, or one that cannot be read.
        """
        return GoldenPair.from_metadata(self._metadata, source=str(self.path))

    def verify(self) -> VerifyResult:
        """Run the golden pair and compare; a mismatch is reported in the result and is not an error.

        Raises
        ------
        ContractError
            The file has no golden pair, or one that does not fit its model.
        """
        golden = self.golden()
        labels = self.predict_batch(golden.images)
        return compare_golden(golden, labels, path=self.path, provider=self.provider, contract=self.contract)

    def preprocess(self, images: Sequence[UInt8Array]) -> UInt8Array:
        """Resize images (H, W, C) of any size to the model's input and stack them: uint8 (N, h, w, C)."""
        return np.stack([resize_image(image, *self.input_size) for image in images])

    def run(self, batch: UInt8Array) -> npt.NDArray[Any]:
        """Run the graph on uint8 (N, h, w, C); return the output of the head, (N, h, w) or (N, h, w, K).

        Raises
        ------
        DataError
            The batch has another shape or dtype.
        ProviderError
            The run fails.
        ContractError
            The output contradicts the contract: another size, or labels that are not class ids.
        """
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
        check_output(output, self.contract, images=len(batch), path=self.path)
        return output

    def postprocess(self, output: npt.NDArray[Any], height: int, width: int) -> IntegerArray:
        """Convert the head's output for N inputs to labels (N, height, width)."""
        labels = best(output, self.contract)
        if labels.shape[1:] == (height, width):
            return labels
        return np.stack([resize_labels(one, height, width) for one in labels])

    def work_on(self, index: int, source: Source, *, options: StreamOptions) -> Result:
        """Read and predict one image in the calling thread; an error is in the result."""
        return self.answer(self.read(index, source, options=options), options=options)

    def read(self, index: int, source: Source, *, options: StreamOptions) -> Reading:
        """Read one image; an error is in the returned object, which must be passed to `answer`."""
        return read_image(Reading(index, source), options, channels=self.contract.channels, large=self._large)

    def answer(self, found: Reading, *, options: StreamOptions) -> Result:
        """Predict an image that was read; an error is in the result."""
        return predict_image(found, options, contract=self.contract, run=self.run)
