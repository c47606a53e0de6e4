"""What the sections of a page are built from: sections, tables, figures, lists of facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from segtool.report.page.markup import Child, Html, tag
from segtool.report.page.panels import Panel
from segtool.report.page.scene import Scene, to_svg
from segtool.text import NONE


@dataclass(frozen=True)
class Cell:
    """A cell of a table: its content, whether it is a number, and whether it stands out."""

    content: Child
    number: bool = True
    strong: bool = False


def section(identifier: str, title: str, *children: Child) -> Html:
    """Return a section under a heading of the second level, which links can name."""
    heading = tag("h2", title, id=f"{identifier}-title")
    return tag(
        "section", heading, tag("div", children, class_="body"), id=identifier, aria_labelledby=f"{identifier}-title"
    )


def table(
    caption: Child,
    columns: Sequence[Child],
    rows: Sequence[Sequence[Child | Cell]],
    *,
    identifier: str,
    text: bool = False,
) -> Html:
    """Return a table whose first column heads its rows; it scrolls by itself where it is wider than the page.

    Parameters
    ----------
    identifier
        Unique in the page.
    text
        Whether plain contents are words, aligned to the left, not numbers.
    """
    numbers = [_is_number(cell, text=text) for cell in rows[0]] if rows else []
    head = tag(
        "tr",
        [
            _head_cell(column, number=index > 0 and number)
            for index, (column, number) in enumerate(zip(columns, numbers, strict=True))
        ],
    )
    body = [tag("tr", [_head_of_row(row[0]), *(_cell(cell, text=text) for cell in row[1:])]) for row in rows]
    whole = tag("table", tag("caption", caption, id=identifier), tag("thead", head), tag("tbody", body))
    return scrolling(whole, identifier)


def scrolling(content: Html, label: str) -> Html:
    """Return content in a box that scrolls to the side, also by keyboard; `label` is the id of what names it."""
    return tag("div", content, class_="scroll", tabindex="0", role="region", aria_labelledby=label)


def chart(scene: Scene | None, caption: Child = None) -> Html | None:
    """Return a drawing with its caption."""
    if scene is None:
        return None
    return tag("figure", to_svg(scene), tag("figcaption", caption) if caption else None, class_="plot")


def pictures(panels: Sequence[Panel], caption: Child) -> Html:
    """Return pictures side by side with their headings, and a caption below them."""
    items = [
        tag("div", _picture(panel), tag("span", panel.heading, aria_hidden="true"), class_="panel") for panel in panels
    ]
    return tag("figure", tag("div", items, class_="panels"), tag("figcaption", caption), class_="example")


def facts(pairs: Sequence[tuple[Child, Child]]) -> Html:
    """Return names with their values; pairs without a value are left out."""
    shown = [(name, value) for name, value in pairs if value not in (None, "", NONE)]
    return tag("dl", [[tag("dt", name), tag("dd", value)] for name, value in shown], class_="facts")


def note(*children: Child) -> Html:
    """Return a paragraph in small print."""
    return tag("p", children, class_="note")


def fold(summary: Child, *children: Child) -> Html:
    """Return content that is hidden until it is asked for."""
    return tag("details", tag("summary", summary), children)


def bdi(text: object) -> Html:
    """Return a name from outside, kept from changing the direction of the text around it."""
    return tag("bdi", str(text))


def _picture(panel: Panel) -> Html:
    # Small images are shown larger, pixel by pixel.
    kind = "pixels" if panel.width < 200 else None
    return tag("img", src=panel.data, alt=panel.alternative, width=panel.width, height=panel.height, class_=kind)


def _head_cell(column: Child, *, number: bool) -> Html:
    return tag("th", column, scope="col", class_="number" if number else None)


def _is_number(cell: Child | Cell, *, text: bool) -> bool:
    return cell.number if isinstance(cell, Cell) else not text


def _head_of_row(cell: Child | Cell) -> Html:
    content = cell.content if isinstance(cell, Cell) else cell
    strong = "strong" if isinstance(cell, Cell) and cell.strong else None
    return tag("th", content, scope="row", class_=strong)


def _cell(cell: Child | Cell, *, text: bool) -> Html:
    if not isinstance(cell, Cell):
        cell = Cell(cell, number=not text)
    classes = " ".join(name for name, on in (("number", cell.number), ("strong", cell.strong)) if on)
    return tag("td", cell.content, class_=classes or None)
