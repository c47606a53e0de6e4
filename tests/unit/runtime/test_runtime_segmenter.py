"""Segmenter: what goes in, what comes out, and which files it refuses."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from PIL import Image
from tiny_models import expected_labels, tiny_contract, write_model

import segtool
from segtool.contract import METADATA_KEY, GoldenPair
from segtool.errors import ContractError, DataError, ModelFileError, ProviderError
from segtool.images.pixels import ArrayPixels
from segtool.runtime.opening import load
from segtool.runtime.postprocess import label, label_and_score
from segtool.runtime.segmenter import Segmenter


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model.onnx")


@pytest.fixture
def segmenter(model: Path) -> Segmenter:
    return load(model, threads=1)


def pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


class TestCall:
    def test_labels_of_an_image_of_the_models_size(self, segmenter: Segmenter) -> None:
        image = pixels(64, 84)
        labels = segmenter(image)
        assert labels.dtype == np.uint8
        np.testing.assert_array_equal(labels, expected_labels(image[..., None]))

    def test_a_trailing_channel_changes_nothing(self, segmenter: Segmenter) -> None:
        image = pixels(64, 84)
        np.testing.assert_array_equal(segmenter(image[..., None]), segmenter(image))

    @pytest.mark.parametrize("size", [(64, 84), (128, 168), (20, 200), (1, 1), (65, 83)])
    def test_labels_have_the_images_own_size(self, segmenter: Segmenter, size: tuple[int, int]) -> None:
        assert segmenter(pixels(*size)).shape == size

    def test_a_large_image_is_resized_and_its_labels_brought_back(self, segmenter: Segmenter) -> None:
        quarter = np.repeat(np.repeat(np.array([[0, 100], [200, 250]], np.uint8), 64, 0), 84, 1)
        labels = segmenter(quarter)
        assert [labels[10, 10], labels[10, 150], labels[120, 10], labels[120, 150]] == [0, 4, 8, 10]

    def test_colour_becomes_grey_by_luma_as_in_a_file(self, segmenter: Segmenter) -> None:
        image = pixels(64, 84, 3)
        grey = np.array(Image.fromarray(image).convert("L"))
        np.testing.assert_array_equal(segmenter(image), segmenter(grey))

    def test_a_colour_model_takes_grey_colour_and_alpha(self, tmp_path: Path) -> None:
        segmenter = load(write_model(tmp_path / "rgb.onnx", tiny_contract(channels=3)))
        grey = pixels(64, 84)
        expected = expected_labels(grey[..., None])
        opaque = np.dstack([grey, grey, grey, np.full_like(grey, 255)])
        for image in (grey, np.dstack([grey] * 3), opaque):
            np.testing.assert_array_equal(segmenter(image), expected)
        assert (segmenter(np.dstack([grey, grey, grey, np.zeros_like(grey)])) == 0).all()

    @pytest.mark.parametrize("head", ["logits", "probabilities"])
    def test_every_head_gives_the_same_labels(self, segmenter: Segmenter, tmp_path: Path, head: str) -> None:
        other = load(write_model(tmp_path / f"{head}.onnx", tiny_contract(head=head)))
        for image in (pixels(64, 84), pixels(100, 120)):
            labels = other(image)
            assert labels.dtype == np.uint8
            np.testing.assert_array_equal(labels, segmenter(image))

    @pytest.mark.parametrize("head", ["labels", "logits"])
    def test_above_256_classes_labels_are_uint16(self, tmp_path: Path, head: str) -> None:
        names = tuple(f"class {index}" for index in range(300))
        segmenter = load(write_model(tmp_path / "many.onnx", tiny_contract(class_names=names, head=head)))
        assert segmenter(pixels(64, 84)).dtype == np.uint16

    @pytest.mark.parametrize(
        ("image", "message"),
        [
            (np.zeros((64, 84), np.float32), "float32"),
            (np.zeros((64, 84), np.int64), "int64"),
            (np.zeros((64, 84, 5), np.uint8), "5"),
            (np.zeros((64,), np.uint8), "shape"),
            (np.zeros((0, 84), np.uint8), "non-empty"),
            (np.zeros((2, 64, 84, 1), np.uint8), "shape"),
        ],
    )
    def test_what_is_no_image_is_refused(self, segmenter: Segmenter, image: np.ndarray, message: str) -> None:
        with pytest.raises(DataError, match=message):
            segmenter(image)

    def test_threads_may_share_it(self, segmenter: Segmenter) -> None:
        images = [pixels(64, 84, seed=seed) for seed in range(8)]
        labels: dict[int, np.ndarray] = {}
        threads = [threading.Thread(target=lambda i=i: labels.update({i: segmenter(images[i])})) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for index, image in enumerate(images):
            np.testing.assert_array_equal(labels[index], expected_labels(image[..., None]))


class TestPredictBatch:
    def test_labels_of_each_image(self, segmenter: Segmenter) -> None:
        images = pixels(5, 64, 84, 1)
        np.testing.assert_array_equal(segmenter.predict_batch(images), expected_labels(images))

    @pytest.mark.parametrize("shape", [(5, 64, 84), (5, 64, 80, 1), (64, 84, 1), (1, 64, 84, 3)])
    def test_another_size_is_refused(self, segmenter: Segmenter, shape: tuple[int, ...]) -> None:
        with pytest.raises(DataError, match=r"expected uint8 \(N, 64, 84, 1\)"):
            segmenter.predict_batch(np.zeros(shape, np.uint8))

    def test_another_dtype_is_refused(self, segmenter: Segmenter) -> None:
        with pytest.raises(DataError, match="float32"):
            segmenter.predict_batch(np.zeros((1, 64, 84, 1), np.float32))


class TestProbabilities:
    @pytest.mark.parametrize("head", ["logits", "probabilities"])
    @pytest.mark.parametrize("size", [(64, 84), (100, 120), (30, 40)])
    def test_they_are_a_distribution_at_the_images_size(self, tmp_path: Path, head: str, size: tuple[int, int]) -> None:
        segmenter = load(write_model(tmp_path / "model.onnx", tiny_contract(head=head)))
        shares = segmenter.probabilities(pixels(*size))
        assert shares.shape == (*size, 11)
        assert shares.dtype == np.float32
        assert shares.min() >= 0
        np.testing.assert_allclose(shares.sum(axis=-1), 1, atol=1e-5)

    def test_values(self, tmp_path: Path) -> None:
        segmenter = load(write_model(tmp_path / "model.onnx", tiny_contract(head="logits")))
        shares = segmenter.probabilities(np.full((64, 84), 50, np.uint8))
        powers = np.exp(-((2.0 - np.arange(11)) ** 2))
        np.testing.assert_allclose(shares[3, 5], powers / powers.sum(), rtol=1e-5)

    def test_a_labels_head_has_none(self, segmenter: Segmenter) -> None:
        with pytest.raises(ModelFileError, match="--head probabilities"):
            segmenter.probabilities(pixels(64, 84))

    @pytest.mark.parametrize("policy", ["resize", "tile"])
    @pytest.mark.parametrize("head", ["logits", "probabilities"])
    @pytest.mark.parametrize("size", [(64, 84), (65, 83), (1, 1), (37, 211), (193, 5), (128, 168)])
    def test_the_labels_are_their_arg_max(self, tmp_path: Path, size: tuple[int, int], head: str, policy: str) -> None:
        segmenter = load(write_model(tmp_path / "model.onnx", tiny_contract(head=head, size_policy=policy)))
        image = pixels(*size)
        Image.fromarray(image).save(tmp_path / "image.png")
        (streamed,) = segmenter.stream([tmp_path / "image.png"], probabilities=True)
        assert streamed.probabilities is not None
        for labels, shares in (
            (streamed.labels, streamed.probabilities),
            (segmenter(image), segmenter.probabilities(image)),
            (segmenter(image), streamed.probabilities),
        ):
            np.testing.assert_array_equal(labels, shares.argmax(axis=-1))

    def test_a_resized_image_has_the_labels_that_the_labels_head_gives(self, tmp_path: Path) -> None:
        given = [
            load(write_model(tmp_path / f"{head}.onnx", tiny_contract(head=head)))(pixels(150, 97))
            for head in ("labels", "logits", "probabilities")
        ]
        np.testing.assert_array_equal(given[0], given[1])
        np.testing.assert_array_equal(given[0], given[2])

    def test_logits_that_the_softmax_rounds_to_one_value_have_one_label(self) -> None:
        contract = tiny_contract(head="logits", height=4, width=4, class_names=("a", "b"))
        logits = np.broadcast_to(np.array([0, 1e-9], np.float32), (1, 4, 4, 2)).copy()
        image = ArrayPixels(np.zeros((4, 4, 1), np.uint8))
        labels, shares = label_and_score(image, contract, lambda _: logits, "auto")
        np.testing.assert_array_equal(labels, shares.argmax(axis=-1))
        np.testing.assert_array_equal(labels, label(image, contract, lambda _: logits, "auto"))


class TestTiles:
    @pytest.fixture
    def tiler(self, tmp_path: Path) -> Segmenter:
        return load(write_model(tmp_path / "tile.onnx", tiny_contract(size_policy="tile")))

    @pytest.mark.parametrize("size", [(200, 300), (65, 84), (40, 200), (500, 10)])
    def test_the_contract_asks_for_them(self, tiler: Segmenter, size: tuple[int, int]) -> None:
        # The model works pixel by pixel, so tiles give exactly what the whole image would; resizing does not.
        image = pixels(*size)
        np.testing.assert_array_equal(tiler(image), expected_labels(image[..., None]))
        assert (tiler(image, tile="never") != expected_labels(image[..., None])).any()

    def test_the_option_asks_for_them(self, segmenter: Segmenter) -> None:
        image = pixels(130, 170)
        np.testing.assert_array_equal(segmenter(image, tile=(64, 84)), expected_labels(image[..., None]))

    def test_another_tile_size_is_refused(self, segmenter: Segmenter) -> None:
        with pytest.raises(DataError, match=r"128x128.*64x84.*--size"):
            segmenter(pixels(130, 170), tile=(128, 128))

    def test_probabilities_by_tiles(self, tmp_path: Path) -> None:
        contract = tiny_contract(size_policy="tile", head="logits")
        segmenter = load(write_model(tmp_path / "tile.onnx", contract))
        image = pixels(100, 200)
        shares = segmenter.probabilities(image)
        np.testing.assert_array_equal(shares.argmax(axis=-1), expected_labels(image[..., None]))


class TestLoad:
    def test_what_it_says_of_itself(self, model: Path) -> None:
        segmenter = segtool.load(str(model), provider="cpu", threads=2)
        assert (segmenter.path, segmenter.provider, segmenter.threads) == (model, "CPUExecutionProvider", 2)
        assert "was requested" in segmenter.provider_reason
        assert segmenter.contract == tiny_contract()

    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(ModelFileError, match="does not exist"):
            load(tmp_path / "none.onnx")

    def test_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ModelFileError, match="is a folder"):
            load(tmp_path)

    @pytest.mark.parametrize("content", [b"", b"not a model", b"\x89PNG\r\n\x1a\n" + bytes(100)])
    def test_bytes_that_are_no_model(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "model.onnx"
        path.write_bytes(content)
        with pytest.raises(ModelFileError, match=r"not an ONNX file|is empty") as caught:
            load(path)
        assert "\n" not in str(caught.value)

    def test_a_truncated_model(self, model: Path) -> None:
        model.write_bytes(model.read_bytes()[:-40])
        with pytest.raises(ModelFileError):
            load(model)

    def test_no_contract(self, model: Path) -> None:
        rewrite_metadata(model, {})
        with pytest.raises(ContractError, match="segtool export"):
            load(model)

    def test_a_newer_contract(self, model: Path) -> None:
        rewrite_metadata(model, {METADATA_KEY: tiny_contract(version=99).to_json()})
        with pytest.raises(ContractError, match="upgrade segtool"):
            load(model)

    @pytest.mark.parametrize("changes", [{"height": 32}, {"channels": 3}, {"head": "logits"}])
    def test_a_contract_that_does_not_fit_the_graph(self, model: Path, changes: dict[str, object]) -> None:
        rewrite_metadata(model, {METADATA_KEY: tiny_contract(**changes).to_json()})
        with pytest.raises(ContractError, match="its contract has"):
            load(model)

    def test_a_provider_that_is_not_there(self, model: Path) -> None:
        with pytest.raises(ProviderError, match="tensorrt"):
            load(model, provider="tensorrt")

    def test_no_threads(self, model: Path) -> None:
        with pytest.raises(ProviderError, match=r"threads is .*expected 1 to 1024"):
            load(model, threads=0)


class TestWhatTheGraphGives:
    """A graph whose output is not what its contract says: found at the first run, not in what is made of it."""

    def rewritten(self, path: Path, change: Callable[[onnx.ModelProto], None]) -> Segmenter:
        model = onnx.load(path)
        change(model)
        onnx.save(model, path)
        return load(path, provider="cpu", threads=1)

    def test_labels_that_are_no_class(self, model: Path) -> None:
        names = ("a", "b", "c")
        contract = tiny_contract(class_names=names, background_id=None)
        segmenter = self.rewritten(
            model, lambda proto: helper.set_model_props(proto, {METADATA_KEY: contract.to_json()})
        )
        assert segmenter(np.full((64, 84), 50, np.uint8)).max() == 2
        with pytest.raises(ContractError, match="has the label 3, but its contract has 3 classes"):
            segmenter(np.full((64, 84), 75, np.uint8))

    def test_a_label_map_of_another_size(self, model: Path) -> None:
        def change(proto: onnx.ModelProto) -> None:
            proto.graph.node[-1].output[0] = "whole"
            for name, value in (("first", 0), ("last", 10), ("axis", 1)):
                proto.graph.initializer.append(numpy_helper.from_array(np.array([value]), name))
            proto.graph.node.append(helper.make_node("Slice", ["whole", "first", "last", "axis"], ["labels"]))
            proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 10

        with pytest.raises(ContractError, match=r"is uint8 \(1, 10, 84\), but its contract has uint8 \(1, 64, 84\)"):
            self.rewritten(model, change)(np.zeros((64, 84), np.uint8))


class TestVerify:
    def test_a_good_file(self, tmp_path: Path) -> None:
        images = pixels(2, 64, 84, 1)
        golden = GoldenPair(images=images, labels=expected_labels(images))
        result = load(write_model(tmp_path / "model.onnx", golden=golden)).verify()
        assert result.passed
        assert (result.images, result.pixels, result.mismatching_pixels) == (2, 2 * 64 * 84, 0)
        assert result.agreement == 1

    def test_a_file_that_computes_something_else(self, tmp_path: Path) -> None:
        images = pixels(2, 64, 84, 1)
        labels = expected_labels(images)
        labels[0, :2, :3] = (labels[0, :2, :3] + 1) % 11
        result = load(write_model(tmp_path / "model.onnx", golden=GoldenPair(images=images, labels=labels))).verify()
        assert not result.passed
        assert result.mismatching_pixels == 6
        assert result.agreement == pytest.approx(1 - 6 / (2 * 64 * 84))
        assert result.to_dict()["passed"] is False

    @pytest.mark.parametrize(
        ("precision", "every", "passed"),
        [("int8", 200, True), ("int8", 80, False), ("float32", 20_000, True), ("float32", 5_000, False)],
    )
    def test_int8_may_differ_more(self, tmp_path: Path, precision: str, every: int, *, passed: bool) -> None:
        # A rounding that differs reaches every layer behind it.
        images = pixels(4, 64, 84, 1)
        labels = expected_labels(images)
        labels.flat[::every] = (labels.flat[::every] + 1) % 11
        contract = tiny_contract(precision=precision)
        golden = GoldenPair(images=images, labels=labels)
        assert load(write_model(tmp_path / "model.onnx", contract, golden=golden)).verify().passed is passed

    def test_a_file_without_a_golden_pair(self, model: Path) -> None:
        with pytest.raises(ContractError, match="no golden pair"):
            load(model).verify()

    def test_a_golden_pair_of_another_size(self, tmp_path: Path) -> None:
        golden = GoldenPair(images=pixels(2, 64, 84, 1), labels=np.zeros((2, 64, 80), np.uint8))
        with pytest.raises(ContractError, match="golden pair"):
            load(write_model(tmp_path / "model.onnx", golden=golden)).verify()


def rewrite_metadata(path: Path, metadata: dict[str, str]) -> None:
    model = onnx.load(path)
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
