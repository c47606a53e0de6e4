"""The charts of benchmarks/plots: what is drawn lies where its numbers say, and a stale file is noticed."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from xml.etree.ElementTree import Element, fromstring

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import figures  # noqa: E402
from plots.svg import BOTTOM, LEFT, RIGHT, TOP, Axis, Chart, stacked  # noqa: E402

SVG = "{http://www.w3.org/2000/svg}"


def chart() -> Chart:
    return Chart(
        "A < B", "1 & 2", Axis("x", 1, 100, (1, 10), log=True), Axis("y", 0, 10, (0, 5)), width=400, height=300
    )


def parsed(text: str) -> Element:
    return fromstring(text)  # noqa: S314 (our own)


def test_points_lie_where_the_axes_say() -> None:
    drawn = chart()
    for point in ((1, 0), (10, 5), (100, 10)):
        drawn.dot(point, color="red")
    circles = parsed(drawn.text()).findall(f"{SVG}circle")
    across, up = 400 - LEFT - RIGHT, 300 - TOP - BOTTOM
    places = [(float(circle.get("cx", "")), float(circle.get("cy", ""))) for circle in circles]
    assert places == [(LEFT, 300 - BOTTOM), (LEFT + across / 2, 300 - BOTTOM - up / 2), (400 - RIGHT, TOP)]


def test_text_is_escaped_and_told_to_those_who_see_no_picture() -> None:
    root = parsed(chart().text())
    assert root.findtext(f"{SVG}title") == "A < B"
    assert root.findtext(f"{SVG}desc") == "1 & 2"


def test_charts_below_each_other() -> None:
    root = parsed(stacked([chart(), chart()], width=400, height=300))
    assert root.get("height") == "600"
    assert [group.get("transform") for group in root.findall(f"{SVG}g")] == ["translate(0 0)", "translate(0 300)"]


@pytest.mark.parametrize("name", figures.DRAWINGS)
def test_every_drawing_is_whole_and_small(name: str) -> None:
    text = figures.DRAWINGS[name]()
    root = parsed(text)
    assert root.findall(f".//{SVG}circle")
    assert len(text) < 40_000
    assert "nan" not in text


def test_a_stale_drawing_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = next(iter(figures.DRAWINGS))
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text((ROOT / "README.md").read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(figures, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["figures.py"])
    figures.main()
    monkeypatch.setattr(sys, "argv", ["figures.py", "--check"])
    with pytest.raises(SystemExit) as fine:
        figures.main()
    assert fine.value.code == 0
    drawing = tmp_path / name
    drawing.write_text(drawing.read_text(encoding="utf-8").replace("<circle", "<circle  ", 1), encoding="utf-8")
    with pytest.raises(SystemExit, match="not what benchmarks/results and the code say"):
        figures.main()


def test_no_result_names_a_folder_of_the_machine_that_made_it() -> None:
    results = sorted((ROOT / "benchmarks" / "results").rglob("*.json"))
    found = [path.name for path in results if re.search(r'"/(work|home|root|tmp|Users|mnt)/', path.read_text("utf-8"))]
    assert results
    assert found == []
