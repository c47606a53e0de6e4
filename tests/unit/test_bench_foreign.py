"""The parts of benchmarks/foreign_engines.py that need none of the engines."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_nets import tiny_data

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from engines import foreign, foreign_network, foreign_targets
from engines.engine import Scaling, Sources
from engines.foreign_network import Network, save_images
from engines.onnxruntime_engine import _resized

RATIO = {"low": 0.0, "high": 9.0}


def row(engine: str, precision: str, drop: float) -> dict[str, Any]:
    return {"engine": engine, "precision": precision, "mean_iou_drop_points": drop}


def test_pixels_are_scaled_and_channels_come_first() -> None:
    images = np.array([[[[10, 20, 30], [40, 50, 60]]]], np.uint8)
    found = Scaling((10, 20, 30), (10, 10, 5)).apply(images)
    np.testing.assert_array_equal(found, [[[[0, 3]], [[0, 3]], [[0, 6]]]])
    assert found.dtype == np.float32
    assert found.flags.c_contiguous


def test_scores_are_resized_between_the_centres_of_pixels() -> None:
    scores = np.array([[[[0, 4]]]], np.float32)
    np.testing.assert_allclose(_resized(scores, (2, 4)), [[[[0, 1, 3, 4]] * 2]])
    ramp = np.arange(12, dtype=np.float32).reshape(1, 1, 3, 4)
    assert _resized(ramp, (3, 4)) is ramp
    np.testing.assert_allclose(_resized(ramp, (6, 8)).mean(), ramp.mean(), rtol=1e-6)


def test_the_best_engine_is_the_one_that_ours_is_slowest_against() -> None:
    turns = {"ours-fp32": 2.0, "ours-int8": 1.0, "stock-fp32": 4.0, "openvino-own": 0.5, "openvino-int8": 0.8}
    rows = [
        row("ours-fp32", "float32", 0),
        row("ours-int8", "int8", 0.1),
        row("stock-fp32", "float32", 0),
        row("openvino-own", "its own choice", 0.6),  # too inaccurate to be deployed
        row("openvino-int8", "int8", 0.5),
        {"engine": "litert-int8", "precision": "int8", "failed": "no"},
    ]
    found = foreign_targets.compared({key: [[value]] * 3 for key, value in turns.items()}, rows, "ours-int8")
    assert {name: (item["best"], item["median"]) for name, item in found.items()} == {
        "float32_over_best": ("stock-fp32", 0.5),
        "recommended_over_best": ("openvino-int8", 1.25),
        "recommended_over_other": ("ours-fp32", 0.5),
    }
    alone = foreign_targets.compared({"ours-fp32": [[1.0]], "stock-fp32": [[2.0]]}, rows[::2][:2], "ours-fp32")
    assert list(alone) == ["float32_over_best", "recommended_over_best"]


@pytest.mark.parametrize(("sets", "limit"), [(["avx2", "avx_vnni"], 0.90), (["avx2"], 1.00)])
def test_geometric_means_and_their_limits(sets: list[str], limit: float) -> None:
    def network(name: str, ratio: float) -> dict[str, Any]:
        return {"name": name, "time": {"1": {key: {"median": ratio, **RATIO} for key in foreign_targets._COMPARED}}}

    rows = [network("a", 0.5), network("b", 1.62), {"name": "not timed"}]
    found = {item["comparison"]: item for item in foreign_targets.geometric_means(rows, sets)}
    assert found["float32_over_best"]["geometric_mean"] == pytest.approx(0.9)
    assert found["float32_over_best"]["networks"] == 2
    assert found["float32_over_best"]["worst"] == {"network": "b", "ratio": 1.62}
    assert found["recommended_over_best"]["limit"] == limit
    assert {name: item["met"] for name, item in found.items()} == {
        "float32_over_best": False,  # 0.9 on average, but more than 1.05 on b
        "recommended_over_best": True,
        "recommended_over_other": False,
    }


def test_the_tables_show_failures_and_networks_without_times() -> None:
    engine = {**row("stock-fp32", "float32", 0), "title": "Stock", "label_agreement": 1, "mean_iou": 0.8}
    engine["size_bytes"] = 5_000_000
    failed = {"engine": "stock-int8", "title": "Quantized", "precision": "int8", "failed": "an axis | too many"}
    facts = {"name": "net", "source": "torch", "image": [2, 3, 3], "segtool": {"recommended": "int8"}}
    text = foreign_targets.markdown([{**facts, "engines": [engine, failed]}], [])
    lines = text.splitlines()
    assert "failed: an axis / too many" in lines[-1]
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
    ratio = {"median": 1.5, **RATIO}
    timed = {"latency_ms": {"p50": 1.25, "p90": 2.5}, "time_over_ours": {"recommended": ratio}}
    time = {"1": {"engines": {"stock-fp32": timed}, "float32_over_best": ratio}}
    rows = [{**facts, "engines": [engine, failed], "time": time}]
    text = foreign_targets.markdown(rows, foreign_targets.geometric_means(rows, []))
    assert "| 1.25, 2.50 | 1.50 |" in text
    assert "| 1.500 | 1.00 | 1.500 (net) | 1.05 | no |" in text


def test_images_are_padded_and_rows_below_count_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from segtool.data.loading import load_dataset

    images, labels = tiny_data(50, channels=3)
    np.savez(tmp_path / "tiny.npz", images=images, labels=labels)
    names = [f"class {k}" for k in range(int(labels.max()) + 1)]
    (tmp_path / "tiny.json").write_text(json.dumps({"classes": names, "ignore_id": 9}))
    height = images.shape[1]
    monkeypatch.setattr(foreign_network, "_input_height", lambda _: height + 4)
    save_images(Network(tmp_path / "net.onnx", {"name": "net"}, tmp_path / "tiny.npz"), tmp_path)
    with np.load(tmp_path / "images.npz") as found:
        assert (len(found["calibration"]), len(found["validation"])) == (10, 40)
        np.testing.assert_array_equal(found["validation"][:, :height], images[10:])
        assert not found["validation"][:, height:].any()
        assert (found["truth"][:, height:] == 9).all()
    data = load_dataset(str(tmp_path / "data.npz"))
    assert data.splits is not None
    assert [len(data.splits[name]) for name in ("train", "val")] == [10, 40]
    assert data.class_names == tuple(names)


def test_a_failed_conversion_leaves_its_reason_without_folders(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "half.onnx").touch()
    foreign._attempt(_fail, Sources(tmp_path, tmp_path, tmp_path), folder)
    assert [path.name for path in folder.iterdir()] == [foreign.FAILED]
    assert (folder / foreign.FAILED).read_text() == "ValueError: No axis 7 in net.onnx, a/b of it."


def _fail(_sources: Sources, folder: Path) -> None:
    raise ValueError(f"No axis 7 in {folder}/net.onnx, a/b of it.\nMore.")
