"""Each picture is a whole PNG of the size that was planned, and what is on it is what was given."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from segtool.contract import default_palette
from segtool.errors import DataError, MissingExtraError, OutputWriteError
from segtool.report import plot_confusion, plot_curves, plot_predictions
from segtool.report.canvas import Page, header_height
from segtool.report.curves import column, highest, needs_log
from segtool.report.layout import GAP, MARGIN

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
    look = {"class_names": names, "palette": default_palette(classes, background_id=0), "background_id": 0}
    return images, truths, np.roll(truths, 1, axis=2), look


def test_curves_are_a_png_and_the_same_each_time(tmp_path):
    for name in ("a.png", "b.png"):
        plot_curves(HISTORY, tmp_path / name, title="fcn8")
    assert opened(tmp_path / "a.png").shape[1] == 1750
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_curves_show_the_history(tmp_path):
    plot_curves(HISTORY, tmp_path / "a.png")
    plot_curves([{**row, "val_loss": 1.0} for row in HISTORY], tmp_path / "b.png")
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
    plot_curves(history, tmp_path / "curves.png")
    assert opened(tmp_path / "curves.png").std() > 0


def test_curves_need_epochs_and_numbers(tmp_path):
    with pytest.raises(DataError, match="no epoch"):
        plot_curves([], tmp_path / "curves.png")
    with pytest.raises(DataError, match="'loss'"):
        plot_curves([{"epoch": 1, "loss": "low"}], tmp_path / "curves.png")
    assert not any(tmp_path.iterdir())


def test_column_highest_and_log():
    history = [{"a": "1"}, {"a": float("inf")}, {}, {"a": 3}, {"a": 3.0}]
    values = column(history, "a")
    np.testing.assert_array_equal(values, [1, np.nan, np.nan, 3, 3])
    assert highest(np.arange(5.0), values) == (3, 3)
    assert highest(np.arange(2.0), np.array([np.nan, np.nan])) is None
    assert needs_log(np.array([1.0, 0.01, np.nan]))
    assert not needs_log(np.array([1.0, 0.5])) and not needs_log(np.array([1.0, 0.0])) and not needs_log(values[1:2])


def test_panels_are_the_image_the_prediction_and_the_truth(tmp_path):
    images, truths, predictions, look = sample(size=(48, 48))
    plot_predictions(images, truths, predictions, tmp_path / "p.png", **look)
    picture = opened(tmp_path / "p.png")
    top = MARGIN + header_height(["", ""]) + 32 + 64  # header, one line of legend, headings
    for index, labels in ((1, predictions), (2, truths)):
        left = MARGIN + index * (480 + GAP)
        centers = picture[top + 5 : top + 480 : 10, left + 5 : left + 480 : 10]
        np.testing.assert_array_equal(centers, np.asarray(look["palette"])[labels[0]])
    centers = picture[top + 5 : top + 480 : 10, MARGIN + 5 : MARGIN + 480 : 10]
    np.testing.assert_array_equal(centers, images[0].repeat(3, axis=2))


@pytest.mark.parametrize(
    ("count", "size", "classes", "channels"),
    [(1, (64, 84), 11, 1), (16, (20, 20), 2, 3), (2, (30, 900), 150, 3), (1, (900, 7), 40, 1)],
)
def test_panels_of_many_kinds(tmp_path, count, size, classes, channels):
    images, truths, predictions, look = sample(count, size, classes, channels)
    plot_predictions(images, truths, predictions, tmp_path / "p.png", **look, title="$Title")
    height, width, _ = opened(tmp_path / "p.png").shape
    assert width >= 1300 and height > 300 * count


def test_panels_draw_ignored_pixels_and_grey_stacks(tmp_path):
    images, truths, predictions, look = sample()
    truths[:, :4] = 255
    plot_predictions(images[..., 0], truths, predictions, tmp_path / "p.png", **look, ignore_id=255)
    assert (opened(tmp_path / "p.png") == 222).all(axis=2).sum() > 1000


def test_panels_refuse_what_does_not_fit(tmp_path):
    images, truths, predictions, look = sample()
    path = tmp_path / "p.png"
    with pytest.raises(DataError, match="uint8"):
        plot_predictions(images / 255, truths, predictions, path, **look)
    with pytest.raises(DataError, match="predictions have shape"):
        plot_predictions(images, truths, predictions[:1], path, **look)
    with pytest.raises(DataError, match="no image"):
        plot_predictions(images[:0], truths[:0], predictions[:0], path, **look)
    with pytest.raises(DataError, match="3 class names and 2 colours"):
        plot_predictions(images, truths, predictions, path, **{**look, "palette": look["palette"][:2]})
    truths[:] = 255
    with pytest.raises(DataError, match="expected class ids 0 to 2"):
        plot_predictions(images, truths, predictions + 1, path, **look, ignore_id=255)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("classes", [2, 11, 20, 60])
def test_confusion_is_a_png_with_a_dark_diagonal(tmp_path, classes):
    names = [f"class {index}" for index in range(classes)]
    plot_confusion(np.eye(classes, dtype=np.int64) * 7, names, tmp_path / "c.png")
    picture = opened(tmp_path / "c.png")
    dark = (picture == (8, 48, 107)).all(axis=2)  # the dark end of "Blues"
    assert dark.any(axis=1).sum() >= 20 * classes and dark.any(axis=0).sum() >= 20 * classes


def test_confusion_greys_out_rows_without_truth(tmp_path):
    plot_confusion(np.array([[1, 1], [0, 0]]), ["a", "b"], tmp_path / "c.png")
    assert (opened(tmp_path / "c.png") == (0xE6, 0xE8, 0xEB)).all(axis=2).sum() > 10_000


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputWriteError):
        plot_confusion(np.eye(2, dtype=int), ["a", "b"], tmp_path / "file" / "c.png")


def test_a_picture_that_is_too_large_is_refused():
    with pytest.raises(DataError, match="fewer images"):
        Page(100, 70_000)


def test_missing_matplotlib_is_the_pip_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    images, truths, predictions, look = sample()
    expected = r'pip install "segtool\[report\]"'
    with pytest.raises(MissingExtraError, match=expected):
        plot_curves(HISTORY, tmp_path / "a.png")
    with pytest.raises(MissingExtraError, match=expected):
        plot_predictions(images, truths, predictions, tmp_path / "a.png", **look)
    with pytest.raises(MissingExtraError, match=expected):
        plot_confusion(np.eye(2, dtype=int), ["a", "b"], tmp_path / "a.png")


def test_importing_the_plots_imports_no_matplotlib_and_drawing_no_pyplot(tmp_path):
    code = (
        "import sys; from segtool.report import plot_confusion; import numpy\n"
        "assert 'matplotlib' not in sys.modules\n"
        f"plot_confusion(numpy.eye(2, dtype=int), ['a', 'b'], {str(tmp_path / 'c.png')!r})\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)
