"""The segmenter: an exported model, from raw pixels to class ids."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.contract import GoldenPair
from segtool.errors import DataError, ModelFileError, ProviderError, SegtoolError
from segtool.images.arrays import FloatArray, IntegerArray, UInt8Array
from segtool.images.decoding import MAX_PIXELS
from segtool.images.image_io import decode_pixels, resize_labels, to_channels
from segtool.images.pixels import ArrayPixels, resize_image
from segtool.machine.processors import available_cpus
from segtool.runtime.model_file import MAX_MODEL_BYTES
from segtool.runtime.opening import OpenedModel, open_model
from segtool.runtime.postprocess import best, label, label_and_score
from segtool.runtime.session import ORT_ERRORS, first_line
from segtool.runtime.signature import check_output
from segtool.runtime.sources import Source, as_source, input_facts, opened_source, read_array
from segtool.runtime.stream import Reading, Result, StreamOptions, ordered_map, worker_count
from segtool.runtime.tiling import TileOption
from segtool.runtime.verify import VerifyResult, compare_golden

# Above this, decoded pixels and answers take more memory than everything else: such images are worked on one by one.
_LARGE_PIXELS = 1 << 25


def load(
    path: str | Path,
    *,
    provider: str = "auto",
    threads: int | None = None,
    provider_options: Mapping[str, Any] | None = None,
    max_bytes: int = MAX_MODEL_BYTES,
    sandbox: bool = False,
) -> Segmenter:
    """Open a model that segtool exported.

    Parameters
    ----------
    path
        The .onnx file.
    provider
        "auto" for the best that really starts, or a name: "cpu", "cuda", ...
    threads
        Threads of one run on the CPU; None for OMP_NUM_THREADS, or else all that this process may use. With 1,
        `Segmenter.stream` runs an image on each processor, which gives the most images a second.
    provider_options
        The provider's own options by its own keys, such as {"device_type": "GPU"} of OpenVINO; they need a provider
        by name, and one that it does not know is an error.
    max_bytes
        Larger files are refused unread; a service that is given models by others sets it as low as it can.
    sandbox
        Open and run the file in a new process first, so that a graph which crashes onnxruntime is an error here: for
        untrusted models. Takes as long as a start of Python and the model together.

    Raises
    ------
    ModelFileError
        The file is missing, no model, damaged, too large, or would make onnxruntime read other files or run
        operators of a library.
    ContractError
        It carries no contract, one of a newer version, or one that does not fit its graph.
    ProviderError
        A provider asked for by name does not run it, or refuses an option.
    """
    return Segmenter(
        open_model(
            path,
            provider=provider,
            threads=threads,
            provider_options=provider_options,
            max_bytes=max_bytes,
            sandbox=sandbox,
        )
    )


def verify(path: str | Path, **options: Any) -> VerifyResult:
    """Open a model and run its built-in golden test; arguments and errors as in `load` and `Segmenter.verify`."""
    return load(path, **options).verify()


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
    provider_report
        All that is known of the provider, ready for JSON: `provider`, `provider_reason`, `provider_options`,
        `provider_nodes` (how many of the graph's it runs; null where that is not known), `refused_providers` (those
        that auto did not take, each with the reason) and `threads`.
    threads
        Threads of one run on the CPU.
    """

    def __init__(self, model: OpenedModel) -> None:
        opened = model.session
        self.path = model.path
        self.contract = model.contract
        self.provider = opened.provider
        self.provider_reason = opened.reason
        self.provider_report = opened.report()
        self.threads = opened.threads
        self._session = opened.session
        self._metadata = opened.metadata
        self._input_name: str = opened.session.get_inputs()[0].name
        # As many runs at a time as there are processors for: more would only wait for each other.
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
            What is done with an image larger than the model: "auto" as the contract says, "never" resize, or
            the model's own (height, width) to tile.

        Returns
        -------
        numpy.ndarray
            (H, W) at the image's own size, uint8 (uint16 above 256 classes).
        """
        pixels = ArrayPixels(to_channels(image, self.contract.channels))
        return label(pixels, self.contract, self.run, tile)

    def predict_batch(self, images: UInt8Array) -> IntegerArray:
        """Return the labels (N, h, w) of images uint8 (N, h, w, C) that have the model's size already."""
        return self.postprocess(self.run(images), *self.input_size)

    def probabilities(self, image: npt.NDArray[Any], *, tile: TileOption = "auto") -> FloatArray:
        """Return the probability of every class at every pixel of one image.

        Parameters
        ----------
        image, tile
            As in a call. A resized image's probabilities are brought back by the nearest pixel centre, as its labels
            are: those of a call are the arg-max of these.

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
            Files, .npy files of one image among them, or images of a .npy stack as
            `segtool.runtime.sources.Source`; any iterable, read only a little further than what has been yielded.
        workers
            Threads that read, decode and wait for the model; None for one more than the processors.
        tile
            As in a call.
        probabilities
            Give those as well.
        keep_images
            Give the images as well; without them a huge one is held once, as it was decoded.
        max_pixels
            Images of more pixels are refused before they are decoded.

        Notes
        -----
        A file that cannot be read, or a run that fails, is a `Result` with an `error`; the stream goes on. At
        most twice as many images as there are workers are in memory, and of those above 32 megapixels one at a time
        is in work.
        """
        if probabilities:
            self.require_probabilities()
        if max_pixels < 1:
            raise DataError(f"At most {max_pixels} pixels were asked for; expected at least 1.")
        count = worker_count(workers)
        options = StreamOptions(tile, probabilities, keep_images, max_pixels)

        def work(item: tuple[int, str | Path | Source]) -> Result:
            return self.work_on(item[0], as_source(item[1]), options=options)

        return ordered_map(work, enumerate(paths), workers=count, ahead=count)

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
        return GoldenPair.from_metadata(self._metadata, source=str(self.path))

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
        """Run the graph on uint8 (N, h, w, C); return the head's own output, (N, h, w) or (N, h, w, K).

        Raises
        ------
        DataError
            The batch has another shape or dtype.
        ProviderError
            The run fails.
        ContractError
            The graph gives what its contract does not say: another size, or labels that are no class.
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
        """Turn the head's output for N inputs into labels (N, height, width)."""
        labels = best(output, self.contract)
        if labels.shape[1:] == (height, width):
            return labels
        return np.stack([resize_labels(one, height, width) for one in labels])

    def work_on(self, index: int, source: Source, *, options: StreamOptions) -> Result:
        """Read and predict one image, in the calling thread; whatever fails is in the result."""
        return self.answer(self.read(index, source, options=options), options=options)

    def read(self, index: int, source: Source, *, options: StreamOptions) -> Reading:
        """Read one image; whatever fails is in what is returned, which `answer` must be given."""
        started = time.perf_counter()
        found = Reading(index, source)
        try:
            if source.is_array:
                found.facts = input_facts(source) if options.facts else None
                found.image = read_array(source, channels=self.contract.channels, max_pixels=options.max_pixels)
                found.pixels = ArrayPixels(found.image)
            else:
                self._read_file(found, options)
        except SegtoolError as caught:
            found.error = caught
        except MemoryError:
            found.error = _too_large(source)
        found.seconds = time.perf_counter() - started
        return found

    def answer(self, found: Reading, *, options: StreamOptions) -> Result:
        """Predict an image that was read; whatever fails is in the result."""
        started = time.perf_counter()
        labels = shares = None
        try:
            if found.pixels is not None and found.error is None:
                if options.probabilities:
                    labels, shares = label_and_score(found.pixels, self.contract, self.run, options.tile)
                else:
                    labels = label(found.pixels, self.contract, self.run, options.tile)
        except SegtoolError as caught:
            found.error = caught
        except MemoryError:
            found.error = _too_large(found.source)
        finally:
            found.turn.close()
        seconds = found.seconds + time.perf_counter() - started
        return Result(
            found.index, found.source.path, found.image, labels, found.error, seconds, shares, facts=found.facts
        )

    def _read_file(self, found: Reading, options: StreamOptions) -> None:
        """Read the pixels of a file, and keep them as an array too where asked; a large one waits for its turn."""

        def wait(count: int) -> None:
            if count > _LARGE_PIXELS:
                found.turn.enter_context(self._large)

        with opened_source(found.source) as file:
            found.facts = file.facts() if options.facts else None
            channels, limit = self.contract.channels, options.max_pixels
            pixels = decode_pixels(file.stream, channels=channels, name=file.name, max_pixels=limit, before=wait)
        found.pixels = pixels
        if options.keep_images:
            found.image = pixels.whole()
            found.pixels = ArrayPixels(found.image)


def _too_large(source: Source) -> DataError:
    return DataError(f"The prediction of {source.name} does not fit in memory; shrink or split it.")
