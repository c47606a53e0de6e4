"""The worst and the best images, with truth, prediction and difference."""

from __future__ import annotations

from segtool.report.page.markup import Child, Html, tag
from segtool.report.page.parts import bdi, fold, note, pictures, section
from segtool.report.page.view import Example, Facts, View, name_of
from segtool.text import percent


def images(view: View) -> Html:
    """Return the section: of the model that is shown at once, of the others behind their names."""
    others = [model for model in view.models if model["id"] != view.shown["id"]]
    return section(
        "images",
        "Images",
        _key(view.shown),
        _of(view, view.shown),
        [fold(["Images of ", name_of(model)], _of(view, model)) for model in others],
    )


def _of(view: View, model: Facts) -> list[Child]:
    found = view.examples.get(model["id"], {})
    parts: list[Child] = []
    for kind, heading in (("worst", "Worst"), ("best", "Best")):
        examples = found.get(kind, ())
        if examples:
            parts += [
                tag("h3", heading, ", ", name_of(model)),
                tag("div", [_figure(example) for example in examples], class_="examples"),
            ]
    return parts or [note("No image has a foreground that could be ranked.")]


def _figure(example: Example) -> Html:
    score = example.facts
    caption = [
        tag("strong", bdi(score["name"])),
        f" · foreground IoU {percent(score['foreground_mean_iou'], 1)} % · {score['wrong']:,} pixels wrong",
    ]
    return pictures(example.panels, [caption, tag("span", example.panels[-1].alternative, class_="hidden")])


def _key(model: Facts) -> Html:
    """Return what the colours of labels and differences mean."""
    contract = model["contract"]
    names = zip(contract["class_names"], contract["palette"], strict=True)
    shown = list(names) if len(contract["class_names"]) <= 24 else []
    classes = [_swatch(f"rgb({red},{green},{blue})", bdi(name)) for name, (red, green, blue) in shown]
    differences = [
        _swatch("rgb(255,176,0)", "missed: foreground taken for background"),
        _swatch("rgb(100,143,255)", "invented: background taken for foreground"),
        _swatch("rgb(220,38,127)", "confused: one class taken for another"),
    ]
    return tag(
        "div",
        tag("ul", classes, class_="key", aria_label="Classes"),
        tag("ul", differences, class_="key", aria_label="Differences"),
    )


def _swatch(color: str, text: Child) -> Html:
    return tag("li", tag("span", class_="swatch", style=f"background:{color}", aria_hidden="true"), text)
