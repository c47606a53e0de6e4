"""The whole page: one file, without a script and without anything from elsewhere."""

from __future__ import annotations

from importlib.resources import files

from segtool.report.page.markup import Html, join, tag
from segtool.report.page.scene import DARK, LIGHT, role_rules, variables
from segtool.report.page.sections.accuracy import accuracy
from segtool.report.page.sections.compare import compare
from segtool.report.page.sections.head import head
from segtool.report.page.sections.images import images
from segtool.report.page.sections.int8 import int8
from segtool.report.page.sections.origin import contracts, reproduce, training
from segtool.report.page.sections.speed import speed
from segtool.report.page.view import View

# The browser itself refuses scripts and anything from elsewhere, whatever may have slipped into the page.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
_SECTIONS = (
    ("models", "Models", compare),
    ("accuracy", "Accuracy", accuracy),
    ("images", "Images", images),
    ("int8", "FP32 against INT8", int8),
    ("speed", "Speed", speed),
    ("training", "Training", training),
    ("contract", "Contract", contracts),
    ("reproduce", "Reproduce", reproduce),
)


def render(view: View) -> str:
    """Return the page as HTML text."""
    found = [(identifier, title, made) for identifier, title, make in _SECTIONS if (made := make(view)) is not None]
    links = [tag("li", tag("a", title, href=f"#{identifier}")) for identifier, title, _ in found]
    title = f"segtool report: {', '.join(model['label'] for model in view.models)}"
    body = tag(
        "div",
        tag("a", "Skip to the figures", href="#models", class_="skip"),
        head(view),
        tag("nav", tag("ul", links), aria_label="Sections"),
        tag("main", [made for _, _, made in found]),
        tag("footer", "One file, no script, no network. Made by segtool report."),
        class_="page",
    )
    page = tag("html", tag("head", _meta(), tag("title", title), tag("style", _style())), tag("body", body), lang="en")
    return f"<!doctype html>\n{page}\n"


def _meta() -> Html:
    return join(
        [
            tag("meta", charset="utf-8"),
            Html(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="color-scheme", content="light dark"),
            tag("meta", name="referrer", content="no-referrer"),
        ]
    )


def _style() -> Html:
    colors = f":root{{{variables(LIGHT)}}}@media(prefers-color-scheme:dark){{:root{{{variables(DARK)}}}}}{role_rules()}"
    return Html(colors + files("segtool.report.page").joinpath("style.css").read_text(encoding="utf-8"))
