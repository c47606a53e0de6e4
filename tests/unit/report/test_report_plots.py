"""Each picture is a whole PNG of the size that was planned, and what is on it is what was given."""

import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from segtool.contract import default_palette
from segtool.data.classes import Classes
from segtool.errors import DataError, MissingExtraError, OutputWriteError
from segtool.images.overlay import overlay
from segtool.report import plot_confusion, plot_curves, plot_differences, plot_predictions
from segtool.report.model_charts import sensitivity_chart
from segtool.report.style import new_figure, set_log, style, to_svg
from segtool.report.training_charts import column, needs_log, training_charts

HISTORY = [
    {
        "epoch": epoch,
        "loss": 2.0 / epoch**2,
        "accuracy": 0.9 + epoch / 200,
        "val_loss": 2.2 / epoch**2,
        "val_pixel_accuracy": 0.9 + epoch / 250,
        "val_foreground_mean_iou": epoch / 20,
        "val_foreground_mean_dice": epoch / 16,
        "learning_rate": 1e-3,
        "seconds": 2.0,
    }
    for epoch in range(1, 15)
]


def opened(path):
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


def sample(count=2, size=(12, 16), classes=3, channels=1):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, *size, channels), dtype=np.uint8)
    truths = rng.integers(0, classes, (count, *size)).astype(np.uint8)
    names = [f"class {index}" for index in range(classes)]
    return images, truths, np.roll(truths, 1, axis=2), Classes(tuple(names), 0)


def test_curves_are_a_png_and_the_same_each_time(tmp_path):
    for name in ("a.png", "b.png"):
        plot_curves(HISTORY, tmp_path / name, title="fcn8")
    assert opened(tmp_path / "a.png").shape[1] > 1600
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_curves_show_the_history(tmp_path):
    plot_curves(HISTORY, tmp_path / "a.png", title="t")
    plot_curves([{**row, "val_loss": 1.0} for row in HISTORY], tmp_path / "b.png", title="t")
    assert (opened(tmp_path / "a.png") != opened(tmp_path / "b.png")).any()


@pytest.mark.parametrize(
    "history",
    [
        HISTORY[:1],
        [{key: str(value) for key, value in row.items()} for row in HISTORY],
        [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": ""}, {"epoch": 3, "loss": float("nan"), "val_loss": None}],
        [{"loss": 0.5}, {"loss": 0.0}],
        [{}],
    ],
    ids=["one epoch", "text", "gaps", "no epochs", "nothing"],
)
def test_curves_of_an_unusual_history(tmp_path, history):
    plot_curves(history, tmp_path / "curves.png", title="t")
    assert opened(tmp_path / "curves.png").std() > 0


def test_curves_need_numbers(tmp_path):
    with pytest.raises(DataError, match="'loss'"):
        plot_curves([{"epoch": 1, "loss": "low"}], tmp_path / "curves.png", title="t")
    assert not any(tmp_path.iterdir())


def test_column_and_log():
    history = [{"a": "1"}, {"a": float("inf")}, {}, {"a": 3}, {"a": 3.0}]
    values = column(history, "a")
    np.testing.assert_array_equal(values, [1, np.nan, np.nan, 3, 3])
    assert needs_log(np.array([1.0, 0.01, np.nan]))
    assert not needs_log(np.array([1.0, 0.5])) and not needs_log(np.array([1.0, 0.0])) and not needs_log(values[1:2])


def share_of(picture, color):
    """The share of a picture's pixels that have a colour."""
    return (picture == color).all(axis=2).mean()


def test_the_prediction_and_the_truth_are_drawn_over_the_image(tmp_path):
    images = np.full((1, 48, 48, 1), 77, np.uint8)
    truths, predictions = np.full((1, 48, 48), 1), np.full((1, 48, 48), 2)
    plot_predictions(images, truths, predictions, tmp_path / "p.png", classes=Classes(("a", "b", "c"), 0), title="t")
    picture = opened(tmp_path / "p.png")
    predicted, true = (overlay(images[0], each[0], default_palette(3))[0, 0] for each in (predictions, truths))
    shares = [share_of(picture, color) for color in ((77, 77, 77), predicted, true)]
    assert min(shares) > 0.1  # three panels of the same size, each whole
    assert max(shares) < 1.2 * min(shares)
    columns = [
        np.flatnonzero((picture == color).all(axis=2).sum(axis=0) > 100).mean() for color in (77, predicted, true)
    ]
    assert columns == sorted(columns)


def test_a_class_without_neighbours_has_an_outline_and_the_background_has_none(tmp_path):
    images, truths = np.full((1, 48, 48, 1), 77, np.uint8), np.zeros((1, 48, 48), np.uint8)
    truths[:, 12:36, 12:36] = 1
    plot_predictions(images, truths, truths, tmp_path / "p.png", classes=Classes(("a", "b"), 0), title="t")
    picture = opened(tmp_path / "p.png")
    color = default_palette(2)[1]
    edges = (picture == color).all(axis=2)
    # Two squares of 24 pixels, ten times as large: their sides are lines of one pixel, on at most two rows.
    assert 2 <= (edges.sum(axis=1) >= 2 * 240).sum() <= 4
    assert share_of(picture, (77, 77, 77)) > 0.25 * share_of(picture, (255, 255, 255))


@pytest.mark.parametrize(
    ("count", "size", "classes", "channels"),
    [(1, (64, 84), 11, 1), (16, (20, 20), 2, 3), (2, (30, 900), 150, 3), (1, (900, 7), 40, 1)],
)
def test_panels_of_many_kinds(tmp_path, count, size, classes, channels):
    images, truths, predictions, known = sample(count, size, classes, channels)
    plot_predictions(images, truths, predictions, tmp_path / "p.png", classes=known, title="$Title")
    height, width, _ = opened(tmp_path / "p.png").shape
    assert width >= 900 and height > 300 * count


def test_panels_draw_ignored_pixels(tmp_path):
    images, truths, predictions, known = sample()
    truths[:, :4] = 255
    known = Classes(known.names, 0, 255)
    plot_predictions(images, truths, predictions, tmp_path / "p.png", classes=known, title="t")
    assert (opened(tmp_path / "p.png") == 222).all(axis=2).sum() > 1000


def test_differences_show_who_is_right(tmp_path):
    images, truths = np.zeros((1, 40, 40, 3), np.uint8), np.ones((1, 40, 40), int)
    labels = [truths, np.zeros_like(truths)]
    look = {"names": ["a.onnx", "b.onnx"], "titles": ["one"], "classes": Classes(("sky", "car"), 0)}
    plot_differences(images, truths, labels, tmp_path / "d.png", **look)
    picture = opened(tmp_path / "d.png")
    assert share_of(picture, (0, 114, 178)) > 0.08  # only the first is right, everywhere


@pytest.mark.parametrize("classes", [2, 11, 20, 60])
def test_confusion_is_a_png_with_a_dark_diagonal(tmp_path, classes):
    names = [f"class {index}" for index in range(classes)]
    plot_confusion(np.eye(classes, dtype=np.int64) * 7, names, tmp_path / "c.png", subject="s")
    picture = opened(tmp_path / "c.png")
    dark = (picture == (8, 48, 107)).all(axis=2)  # the dark end of "Blues"
    assert dark.any(axis=1).sum() >= 20 * classes and dark.any(axis=0).sum() >= 20 * classes


def test_confusion_greys_out_rows_without_truth(tmp_path):
    plot_confusion(np.array([[1, 1], [0, 0]]), ["a", "b"], tmp_path / "c.png", subject="s")
    assert (opened(tmp_path / "c.png") == (0xE6, 0xE8, 0xEB)).all(axis=2).sum() > 10_000


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputWriteError):
        plot_confusion(np.eye(2, dtype=int), ["a", "b"], tmp_path / "file" / "c.png", subject="s")


@pytest.mark.parametrize(("low", "high"), [(2.1, 2.4), (5, 40), (0.3, 900), (0.05, 3000)])
def test_a_logarithmic_axis_has_a_few_plain_numbers(low, high):
    with style():
        axes = new_figure(400, 200).subplots()
        axes.plot([low, high], [0, 1])
        set_log(axes.xaxis)
        axes.figure.draw_without_rendering()
    shown = [label.get_text() for label in axes.get_xticklabels() if low <= label.get_position()[0] <= high]
    assert 3 <= len(shown) <= 11
    assert [float(text) for text in shown] == sorted({float(text) for text in shown})


def test_a_picture_that_is_too_large_is_refused():
    with style(), pytest.raises(DataError, match="fewer images"):
        new_figure(100, 70_000)


def test_a_chart_in_a_page_has_text_the_colours_of_the_page_and_its_own_identifiers():
    chart = training_charts(HISTORY)["iou"]
    first, second = to_svg(chart, "first"), to_svg(chart, "second")
    assert ">epoch</text>" in first
    assert "var(--s2)" in first
    assert not re.search("#[0-9a-f]{6}", first)  # a fixed colour would not be readable in the dark
    found = [set(re.findall(' id="([^"]+)"', svg)) for svg in (first, second)]
    assert found[0]
    assert not found[0] & found[1]
    used = set(re.findall('href="#([^"]+)"', first))
    assert used
    assert used <= found[0]


def test_the_highest_value_is_named_and_a_curve_without_values_is_not():
    assert "highest IoU: 70.00 in epoch 14" in to_svg(training_charts(HISTORY)["iou"], "x")
    chart = training_charts([{**row, "val_foreground_mean_iou": None} for row in HISTORY])["iou"]
    assert "highest IoU" not in to_svg(chart, "x")
    assert training_charts([]) == {}


def test_a_name_that_no_font_and_no_encoding_can_write_is_replaced():
    hostile = "a\udc80\x01\u202e<b>$x$"
    svg = to_svg(sensitivity_chart({hostile: 0.3}, []), "x")
    svg.encode()
    assert "&lt;b&gt;$x$" in svg
    assert not any(character in svg for character in "\udc80\x01\u202e")


def test_a_chart_on_its_own_brings_the_colours_along():
    alone = to_svg(training_charts(HISTORY)["loss"], "loss", alone=True)
    assert alone.startswith("<?xml")
    assert "prefers-color-scheme:dark" in alone
    assert "--s0:#0b66b5" in alone


def test_missing_matplotlib_is_the_pip_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    images, truths, predictions, known = sample()
    expected = r'pip install "segtool\[report\]"'
    with pytest.raises(MissingExtraError, match=expected):
        plot_curves(HISTORY, tmp_path / "a.png", title="t")
    with pytest.raises(MissingExtraError, match=expected):
        plot_predictions(images, truths, predictions, tmp_path / "a.png", classes=known, title="t")
    with pytest.raises(MissingExtraError, match=expected):
        plot_confusion(np.eye(2, dtype=int), ["a", "b"], tmp_path / "a.png", subject="s")


def test_importing_the_plots_imports_no_matplotlib_and_drawing_no_pyplot(tmp_path):
    code = (
        "import sys; from segtool.report import plot_confusion; import numpy\n"
        "assert 'matplotlib' not in sys.modules\n"
        f"plot_confusion(numpy.eye(2, dtype=int), ['a', 'b'], {str(tmp_path / 'c.png')!r}, subject='s')\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)


def test_the_heading_and_all_names_of_a_legend_are_inside_the_picture(tmp_path):
    """The heading is above the figure: what a picture cuts off on a side is no white margin any more."""
    images, truths, predictions, known = sample(1, (12, 16), 24)
    long = Classes(tuple(f"{name} with a long name" for name in known.names), 0)
    plot_predictions(images, truths, predictions, tmp_path / "p.png", classes=long, title="A long title " * 5)
    plot_confusion(np.eye(24, dtype=int), long.names, tmp_path / "c.png", subject="model.onnx on data")
    plot_curves(HISTORY, tmp_path / "t.png", title="A title")
    for name in ("p.png", "c.png", "t.png"):
        picture = opened(tmp_path / name)
        edges = [picture[:20], picture[-20:], picture[:, :20], picture[:, -20:]]
        assert all((edge == 255).all() for edge in edges), name
