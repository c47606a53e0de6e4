"""Numbers and names as people read them."""

from pathlib import Path

import pytest

from segtool.text import counted, decoded, listed, percent, points, short_names, shortened


@pytest.mark.parametrize(
    ("share", "digits", "text"),
    [
        (0.8476, 1, "84.8"), (0.0, 1, "0.0"), (1.0, 1, "100"), (0.99996, 1, "99.9"), (0.0004, 1, "0.0"),
        (0.99999, 2, "99.99"), (float("nan"), 2, "-"), (None, 2, "-"),
    ],
)  # fmt: skip
def test_a_percentage_is_never_100_where_something_is_missing(share: float | None, digits: int, text: str) -> None:
    assert percent(share, digits) == text


def test_numbers_have_the_form_of_their_noun() -> None:
    assert [counted(number, "pixel") for number in (0, 1, 2, 0.5)] == ["0 pixels", "1 pixel", "2 pixels", "0.5 pixels"]
    assert counted(2, "class") == "2 classes"
    assert counted(1_500_000, "pixel") == "1,500,000 pixels"


def test_a_long_list_is_cut() -> None:
    assert listed(["a", "b", "c"], 3) == "a, b, c"
    assert listed(["a", "b", "c"], 1) == "a and 2 more"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_text_in_the_encodings_of_windows(encoding: str) -> None:
    assert decoded("eins\nÖl".encode(encoding)) == "eins\nÖl"


def test_points_have_a_sign() -> None:
    assert [points(value) for value in (0.5, -0.5, 0.001)] == ["+0.50 points", "\u22120.50 points", "\u00b10.00 points"]


def test_a_long_name_keeps_both_ends() -> None:
    assert shortened("model.onnx", 10) == "model.onnx"
    cut = shortened("runs/2026-11-28/model.int8.onnx", 20)
    assert len(cut) == 20
    assert cut.startswith("runs")
    assert cut.endswith("int8.onnx")


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/m.onnx", "a/n.onnx"], ["m.onnx", "n.onnx"]),
        (["a/m.onnx", "b/m.onnx"], ["a/m.onnx", "b/m.onnx"]),
        (["x/a/m.onnx", "y/a/m.onnx"], ["x/a/m.onnx", "y/a/m.onnx"]),
    ],
)
def test_names_of_files_are_as_short_as_they_differ(paths: list[str], names: list[str]) -> None:
    assert short_names([Path(path) for path in paths]) == names
