"""Streams: in order, ahead but not too far, and past failures."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_models import expected_labels, tiny_contract, write_model

from segtool.errors import DataError, ModelFileError
from segtool.runtime.opening import load
from segtool.runtime.segmenter import Segmenter
from segtool.runtime.stream import ordered_map


class TestOrderedMap:
    def test_order_is_kept_when_early_items_take_longest(self) -> None:
        def work(item: int) -> int:
            time.sleep(0.02 if item % 4 == 0 else 0)
            return item * item

        assert list(ordered_map(work, range(20), workers=4, ahead=4)) == [item * item for item in range(20)]

    def test_the_input_is_read_no_further_than_allowed(self) -> None:
        read = []

        def items() -> Iterator[int]:
            for item in range(100):
                read.append(item)
                yield item

        results = ordered_map(lambda item: item, items(), workers=2, ahead=3)
        for count, _ in enumerate(results, start=1):
            assert len(read) <= count - 1 + 5

    def test_work_goes_on_side_by_side(self) -> None:
        barrier = threading.Barrier(3, timeout=300)
        assert len(list(ordered_map(lambda _: barrier.wait(), range(3), workers=3, ahead=3))) == 3

    def test_an_error_comes_in_its_turn(self) -> None:
        def work(item: int) -> int:
            if item == 2:
                raise KeyError(item)
            return item

        results = ordered_map(work, range(10), workers=2, ahead=2)
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises(KeyError):
            next(results)

    def test_closing_it_drops_what_has_not_begun_and_ends_its_threads(self) -> None:
        begun = []
        before = threading.active_count()
        results = ordered_map(begun.append, range(1000), workers=1, ahead=2)
        next(results)
        results.close()
        assert len(begun) <= 4
        assert threading.active_count() == before

    def test_once_stopped_nothing_is_begun_and_what_is_in_work_is_yielded(self) -> None:
        begun: list[int] = []
        go_on, stopped = threading.Event(), threading.Event()

        def work(item: int) -> int:
            begun.append(item)
            if item == 1:
                stopped.set()  # one item is over, one is in work, three wait
                go_on.wait(10)
            return item

        results = ordered_map(work, range(100), workers=1, ahead=4, stop=stopped.is_set)
        assert next(results) == 0
        assert stopped.wait(10)
        threading.Timer(0.05, go_on.set).start()
        assert list(results) == [1]
        assert begun == [0, 1]


class TestSegmenterStream:
    @pytest.fixture
    def segmenter(self, tmp_path: Path) -> Segmenter:
        return load(write_model(tmp_path / "model.onnx"), threads=1)

    @pytest.fixture
    def paths(self, tmp_path: Path) -> list[Path]:
        rng = np.random.default_rng(0)
        paths = [tmp_path / f"{index}.png" for index in range(12)]
        for path in paths:
            Image.fromarray(rng.integers(0, 256, (64, 84), dtype=np.uint8)).save(path)
        return paths

    @pytest.mark.parametrize("workers", [None, 1, 5])
    def test_results_in_order(self, segmenter: Segmenter, paths: list[Path], workers: int | None) -> None:
        results = list(segmenter.stream(paths, workers=workers))
        assert [result.index for result in results] == list(range(12))
        assert [result.path for result in results] == paths
        for result in results:
            assert result.error is None
            assert result.image.shape == (64, 84, 1)
            np.testing.assert_array_equal(result.labels, expected_labels(result.image))
            assert result.seconds > 0

    def test_one_failure_does_not_stop_the_rest(self, segmenter: Segmenter, paths: list[Path]) -> None:
        paths[3].write_bytes(b"")
        paths[7].unlink()
        results = list(segmenter.stream(map(str, paths)))
        assert [result.index for result in results if result.error] == [3, 7]
        assert all(isinstance(results[index].error, DataError) for index in (3, 7))
        assert results[3].labels is None
        assert results[8].labels is not None

    @pytest.mark.parametrize("policy", ["resize", "tile"])
    @pytest.mark.parametrize("head", ["logits", "probabilities"])
    def test_labels_do_not_depend_on_whether_probabilities_are_asked_for(
        self, tmp_path: Path, paths: list[Path], head: str, policy: str
    ) -> None:
        image = np.random.default_rng(1).integers(0, 256, (150, 200), dtype=np.uint8)
        Image.fromarray(image).save(paths[0])
        segmenter = load(write_model(tmp_path / "head.onnx", tiny_contract(head=head, size_policy=policy)))
        (with_them,) = segmenter.stream(paths[:1], probabilities=True)
        (without,) = segmenter.stream(paths[:1])
        np.testing.assert_array_equal(with_them.labels, without.labels)
        assert with_them.probabilities.shape == (150, 200, 11)
        assert without.probabilities is None

    def test_images_are_left_out_where_they_are_not_to_be_kept(self, segmenter: Segmenter, paths: list[Path]) -> None:
        for kept, left in zip(segmenter.stream(paths), segmenter.stream(paths, keep_images=False), strict=True):
            np.testing.assert_array_equal(left.labels, kept.labels)
            assert left.image is None

    def test_an_image_of_more_pixels_than_asked_for_is_an_error(self, segmenter: Segmenter, paths: list[Path]) -> None:
        (result,) = segmenter.stream(paths[:1], max_pixels=64 * 84 - 1)
        assert "84 x 64" in str(result.error)
        (result,) = segmenter.stream(paths[:1], max_pixels=64 * 84)
        assert result.error is None

    def test_large_images_are_worked_on_one_at_a_time(
        self, segmenter: Segmenter, paths: list[Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def most_at_once(*, wait: float) -> int:
            busy, most, lock, run, two = 0, 0, threading.Lock(), Segmenter.run, threading.Event()

            def watched(self: Segmenter, batch: np.ndarray) -> np.ndarray:
                nonlocal busy, most
                with lock:
                    busy += 1
                    most = max(most, busy)
                    if most > 1:
                        two.set()
                two.wait(wait)
                try:
                    return run(self, batch)
                finally:
                    with lock:
                        busy -= 1

            with monkeypatch.context() as patch:
                patch.setattr(Segmenter, "run", watched)
                assert [result.index for result in segmenter.stream(paths, workers=4)] == list(range(12))
            return most

        monkeypatch.setattr("segtool.runtime.stream._LARGE_PIXELS", 64 * 84)
        assert most_at_once(wait=300) > 1
        monkeypatch.setattr("segtool.runtime.stream._LARGE_PIXELS", 64 * 84 - 1)
        assert most_at_once(wait=0.01) == 1

    def test_what_cannot_work_is_refused_at_once(self, segmenter: Segmenter, paths: list[Path]) -> None:
        with pytest.raises(ModelFileError, match="labels head"):
            segmenter.stream(paths, probabilities=True)
        with pytest.raises(DataError, match=r"workers is .*expected 1 to 1024"):
            segmenter.stream(paths, workers=0)
        with pytest.raises(DataError, match="at least 1"):
            segmenter.stream(paths, max_pixels=0)
