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
from segtool.images.legend import PAPER, Key
from segtool.images.overlay import enlargement, overlay
from segtool.report import plot_curves, plot_differences, plot_predictions
from segtool.report.model_charts import sensitivity_chart
from segtool.report.pictures import score_keys, scores_of
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


IMAGE = (10, 200, 77)  # no grey, which letters have at their edges


def share_of(picture, color):
    """The share of a picture's pixels that have a colour."""
    return (picture == color).all(axis=2).mean()


def test_the_prediction_and_the_truth_are_drawn_over_the_image(tmp_path):
    images = np.full((1, 48, 48, 3), IMAGE, np.uint8)
    truths, predictions = np.full((1, 48, 48), 1), np.full((1, 48, 48), 2)
    plot_predictions(images, truths, predictions, tmp_path / "p.png", classes=Classes(("a", "b", "c"), 0), title="t")
    picture = opened(tmp_path / "p.png")
    predicted, true = (overlay(images[0], each[0], default_palette(3))[0, 0] for each in (predictions, truths))
    found = [(picture == color).all(axis=2) for color in (IMAGE, predicted, true)]
    times = enlargement((48, 48))
    assert [panel.sum() for panel in found] == [(48 * times) ** 2] * 3
    lefts = [panel.any(axis=0).argmax() for panel in found]
    assert lefts == sorted(lefts)


def test_a_class_without_neighbours_has_an_outline_and_the_background_has_none(tmp_path):
    images, truths = np.full((1, 48, 48, 3), IMAGE, np.uint8), np.zeros((1, 48, 48), np.uint8)
    truths[:, 12:36, 12:36] = 1
    plot_predictions(images, truths, truths, tmp_path / "p.png", classes=Classes(("a", "b"), 0), title="t")
    picture = opened(tmp_path / "p.png")
    edges = (picture == default_palette(2)[1]).all(axis=2)
    side = 24 * enlargement((48, 48))
    assert (edges.sum(axis=1) == 2 * side).sum() == 2  # the upper and the lower sides of two squares
    assert (picture == IMAGE).all(axis=2).sum() == 3 * (2 * side) ** 2 - 2 * side**2


def test_the_legend_has_the_figures_of_each_class():
    scores = scores_of(np.array([[0, 0, 1, 1]]), np.array([[0, 1, 1, 2]]), Classes(("sky", "1", "car\x01", "x"), 0))
    palette, known = default_palette(4), Classes(("sky", "1", "car\u202e", "x"), 0)
    assert score_keys(scores, palette, known) == [
        Key("0 sky: IoU 50.0 %, Dice 66.7 %", None),
        Key("1: IoU 33.3 %, Dice 50.0 %", palette[1]),
        Key("2 car\ufffd: IoU 0.0 %, Dice 0.0 %", palette[2]),  # predicted, but not there
    ]


@pytest.mark.parametrize(
    ("count", "size", "classes", "channels"),
    [(1, (64, 84), 11, 1), (16, (20, 20), 2, 3), (2, (30, 900), 150, 3), (1, (900, 7), 40, 1)],
)
def test_panels_of_many_kinds(tmp_path, count, size, classes, channels):
    images, truths, predictions, known = sample(count, size, classes, channels)
    plot_predictions(images, truths, predictions, tmp_path / "p.png", classes=known, title="$Title")
    height, width, _ = opened(tmp_path / "p.png").shape
    times = enlargement(size)
    factor = min(1, 480 / (times * max(size)))
    assert width >= 3 * int(factor * times * size[1])
    assert height >= count * int(factor * times * size[0])


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


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    images, truths, predictions, known = sample()
    with pytest.raises(OutputWriteError):
        plot_predictions(images, truths, predictions, tmp_path / "file" / "p.png", classes=known, title="t")
    with pytest.raises(OutputWriteError):
        plot_curves(HISTORY, tmp_path / "file" / "c.png", title="t")


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
    with pytest.raises(MissingExtraError, match=r'pip install "segtool\[report\]"'):
        plot_curves(HISTORY, tmp_path / "a.png", title="t")


def test_pictures_need_no_matplotlib_and_curves_no_pyplot(tmp_path):
    code = (
        "import sys, numpy as np; from segtool.report import plot_curves, plot_predictions\n"
        "from segtool.data.classes import Classes\n"
        "maps = np.eye(9, dtype=np.uint8)[None]\n"
        f"plot_predictions(maps[..., None], maps, maps, {str(tmp_path / 'p.png')!r}, "
        "classes=Classes(('a', 'b'), 0), title='t')\n"
        "assert 'matplotlib' not in sys.modules\n"
        f"plot_curves([{{'loss': 1}}], {str(tmp_path / 'c.png')!r}, title='t')\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)


def test_all_lines_are_inside_the_picture(tmp_path):
    images, truths, predictions, known = sample(1, (12, 16), 24)
    long = Classes(tuple(f"{name} with a long name" for name in known.names), 0)
    plot_predictions(images, truths, predictions, tmp_path / "p.png", classes=long, title="A long title " * 50)
    plot_curves(HISTORY, tmp_path / "t.png", title="A title")
    for name, ground in (("p.png", PAPER), ("t.png", (255, 255, 255))):
        picture = opened(tmp_path / name)
        edges = [picture[:3], picture[-3:], picture[:, :3], picture[:, -3:]]
        assert all((edge == ground).all() for edge in edges), name
