"""The report in a real browser: it loads, all pictures are there, it fits a phone, and can be read in the dark."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from report_runs import write_report_run

from segtool.cli import main

sys.path.insert(0, str(Path(__file__).parents[2]))
from browser import CONTRAST, WIDER, Page, browser, find_browser

pytestmark = pytest.mark.skipif(find_browser() is None, reason="no Chromium is installed here, nor named by $CHROMIUM")

BROKEN_IMAGES = """
Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth > 0 ? '' : i.alt, () => i.alt)))
  .then(found => found.filter(Boolean))
"""
# Words of a training's drawings that lie outside them or over each other; the places of times are those of the hour.
COLLIDING = """
[...document.querySelectorAll('#training svg.chart')].flatMap(svg => {
  const words = [...svg.querySelectorAll('text')].map(e => [e.textContent, e.getBoundingClientRect()]);
  const frame = svg.getBoundingClientRect();
  const outside = words.filter(([, b]) => b.left < frame.left - 1 || b.right > frame.right + 1);
  const beside = (a, b) => a.right <= b.left + 1 || b.right <= a.left + 1;
  const apart = (a, b) => beside(a, b) || a.bottom <= b.top + 2 || b.bottom <= a.top + 2;
  const over = words.flatMap(([one, a], i) =>
    words.slice(i + 1).filter(([, b]) => !apart(a, b)).map(([two]) => [one, two]));
  return [...outside.map(([text]) => text), ...over.map(pair => pair.join(' / '))];
})
"""
HIDDEN = """
['t-models', 't-figures'].filter(id => {
  const box = document.getElementById(id).closest('.scroll');
  return box.scrollWidth > box.clientWidth;
})
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_report_run(tmp_path_factory.mktemp("seen") / "run")
    # The first epoch is the best one here: its mark lies at the left edge, the usual one at the right.
    history = folder / "history.csv"
    history.write_text(history.read_text(encoding="utf-8").replace(",0.2,0.3,", ",0.9,0.95,"), encoding="utf-8")
    result = CliRunner().invoke(main, ["report", str(folder), "--runs", "10"])
    assert result.exit_code == 0, result.output
    return folder / "report.html"


@pytest.fixture(scope="module")
def page(path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(find_browser() or "", tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def problems(page: Page) -> list[object]:
    """Return what the browser complained of, and every request but that of the page and of its own data."""
    complaints = [
        params
        for method, params in page.events
        if method
        in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded", "Page.javascriptDialogOpening")
    ]
    urls = [params["request"]["url"] for method, params in page.events if method == "Network.requestWillBeSent"]
    return complaints + [url for url in urls[1:] if not url.startswith("data:")]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_is_whole_and_fits(page: Page, path: Path, width: int, dark: bool) -> None:
    page.look(width=width, dark=dark)
    page.open(path)
    assert page.evaluate("document.readyState") == "complete"
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert page.evaluate("document.images.length") >= 16
    assert page.evaluate(BROKEN_IMAGES) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(WIDER) == []
    assert page.evaluate(COLLIDING) == []
    if width >= 1280:
        assert page.evaluate(HIDDEN) == []
    ratio, where = page.evaluate(CONTRAST)
    assert ratio >= 4.5, where
    assert problems(page) == []


def test_dark_is_dark_and_light_is_light(page: Page, path: Path) -> None:
    grounds = []
    for dark in (False, True):
        page.look(width=1280, dark=dark)
        page.open(path)
        grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"))
    light, dark_ground = (sum(color) / 3 for color in grounds)
    assert light > 230
    assert dark_ground < 40


def test_the_first_screen_answers(page: Page, path: Path) -> None:
    page.look(width=1280, height=900)
    page.open(path)
    for selector in (".answer", "h1", ".summary", ".numbers", ".checks"):
        assert page.evaluate(f"document.querySelector({selector!r}).getBoundingClientRect().top") < 900


def test_the_matrix_switches_without_a_script(page: Page, path: Path) -> None:
    page.look(width=1280)
    page.open(path)
    shown = "[...document.querySelectorAll('.is-share, .is-pixels')].slice(0, 2).map(e => e.checkVisibility())"
    assert page.evaluate(shown) == [True, False]
    page.evaluate("document.querySelector('.to-pixels').checked = true")
    assert page.evaluate(shown) == [False, True]


def test_the_browser_would_refuse_a_script_and_the_network(page: Page, path: Path, tmp_path: Path) -> None:
    """The policy in the page holds even for what might slip in; and `problems` would show it."""
    slipped = '<script>alert(1)</script><img src="http://127.0.0.1:9/x.png" alt="">'
    spoiled = tmp_path / "spoiled.html"
    spoiled.write_text(path.read_text(encoding="utf-8").replace("</main>", f"{slipped}</main>"), encoding="utf-8")
    page.look(width=1280)
    page.open(spoiled)
    assert page.evaluate("1") == 1
    texts = [params["entry"]["text"] for method, params in page.events if method == "Log.entryAdded"]
    assert len([text for text in texts if "Content Security Policy" in text]) >= 2
    assert problems(page)
