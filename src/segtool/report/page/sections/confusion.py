"""The confusion matrix as a table, in shares and in pixels, and its largest entries in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from segtool.report.confusion import cell_text, row_shares
from segtool.report.page.markup import Child, Html, tag
from segtool.report.page.parts import bdi, note, scrolling
from segtool.report.page.scoring import largest_confusions
from segtool.report.page.view import Facts, name_of
from segtool.text import percent

_MAX_CLASSES = 40  # a table of more is not read by anybody; its figures are in the JSON
_STRONGEST = 0.5  # of the heat colour, so that the figures on it stay readable


def confusion(model: Facts, *, opened: bool) -> Html:
    """Return the matrix of a model, behind its name; `opened` for one that is shown at once."""
    evaluation = model["evaluation"]
    names = [str(item["name"]) for item in evaluation["classes"]]
    matrix = np.asarray(evaluation["confusion_matrix"], np.int64)
    content: list[Child] = [_largest(matrix, names)]
    if len(names) > _MAX_CLASSES:
        content.append(note(f"The whole matrix of {len(names)} classes is in the JSON beside this page."))
    else:
        content.append(_switched(matrix, names, model["id"]))
    return tag("details", tag("summary", "Confusion matrix of ", name_of(model)), content, open=opened)


def _largest(matrix: np.typing.NDArray[np.int64], names: Sequence[str]) -> Html:
    found = largest_confusions(matrix, names, most=6)
    if not found:
        return note("No pixel was taken for another class.")
    items = [
        tag("li", bdi(item["from"]), " taken for ", bdi(item["to"]), f": {item['pixels']:,} pixels, "
            f"{percent(item['pixels'] / int(matrix[item['from_id']].sum()))} % of the class")
        for item in found
    ]  # fmt: skip
    return tag("ol", items, class_="largest", aria_label="Largest confusions")


def _switched(matrix: np.typing.NDArray[np.int64], names: Sequence[str], number: int) -> list[Html]:
    """Return both tables with a switch between them that needs no script."""
    shares = row_shares(matrix, len(names))
    group = f"matrix-{number}"
    switches = [
        tag("input", type="radio", name=group, id=f"{group}-{kind}", class_=f"to-{kind}", checked=kind == "share")
        for kind in ("share", "pixels")
    ]
    labels = [
        tag("label", text, for_=f"{group}-{kind}")
        for kind, text in (("share", "percent of the true class"), ("pixels", "pixels"))
    ]
    texts = [[cell_text(share) for share in row] for row in shares.tolist()]
    counts = [[f"{count:,}" if count else "" for count in row] for row in matrix.tolist()]
    return [
        tag(
            "fieldset",
            tag("legend", "Show", class_="hidden"),
            [part for pair in zip(switches, labels, strict=True) for part in pair],
            tag("div", _table(texts, shares, names, f"{group}-t-share", "percent of each row"), class_="is-share"),
            tag("div", _table(counts, shares, names, f"{group}-t-pixels", "pixels"), class_="is-pixels"),
            class_="switched",
        )
    ]


def _table(
    texts: Sequence[Sequence[str]],
    shares: np.typing.NDArray[np.float64],
    names: Sequence[str],
    identifier: str,
    unit: str,
) -> Html:
    head = tag(
        "tr", tag("th", "true", scope="col"), [tag("th", bdi(name), scope="col", class_="number") for name in names]
    )
    rows = [
        tag("tr", tag("th", bdi(name), scope="row"), [_cell(*pair) for pair in zip(row, heat, strict=True)])
        for name, row, heat in zip(names, texts, shares.tolist(), strict=True)
    ]
    caption = tag("caption", f"Rows are the truth, columns the prediction; {unit}, empty is exactly 0", id=identifier)
    return scrolling(tag("table", caption, tag("thead", head), tag("tbody", rows), class_="matrix"), identifier)


def _cell(text: str, share: float) -> Html:
    # A confusion of one percent matters and would not be seen on a linear scale.
    heat = 0.0 if math.isnan(share) else _STRONGEST * math.sqrt(share)
    return tag("td", text, class_="number", style=f"--share:{heat:.3f}" if heat else None)
