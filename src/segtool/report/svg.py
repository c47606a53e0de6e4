"""Charts as SVG: colours are CSS variables, so the page or the file defines them for both modes."""

from __future__ import annotations

import html
import io
import re
from dataclasses import dataclass
from typing import Any

from segtool.report.style import LIGHT, lay_out, style
from segtool.text import clean

DARK = {
    "paper": "#14161a", "ink": "#e6e7e9", "muted": "#a3a9b1", "rule": "#343940",
    "s0": "#6bb3f2", "s1": "#f2965a", "s2": "#4fc9a4", "s3": "#e3a0cd", "s4": "#dfba4c", "s5": "#b4bcc6",
}  # fmt: skip

_HINT = "hint:"
_SANS = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue','Liberation Sans',Arial,sans-serif"


@dataclass(frozen=True)
class Chart:
    """A chart: its title, a description in words for screen readers, and its figure."""

    title: str
    description: str
    figure: Any


def set_hint(artist: Any, text: str) -> None:
    """Set `text` as the tooltip of a part of an SVG."""
    artist.set_gid(_HINT + text)


def to_svg(chart: Chart, name: str, *, alone: bool = False) -> str:
    """Return a chart as an SVG element with the colours of the page, or as a file that includes the colours.

    `name` is the prefix of its identifiers, unique in the page.
    """
    stream = io.StringIO()
    for artist in chart.figure.findobj():
        artist.set_clip_on(False)  # nothing lies outside, so clip paths and their identifiers are not needed
    with style():
        lay_out(chart.figure)
        chart.figure.savefig(stream, format="svg", facecolor="none")
    drawing = clean(stream.getvalue()).split("</defs>", 1)[1].rsplit("</svg>", 1)[0]
    body = re.sub("<[^>]+>", lambda found: _tag_of_the_page(found[0], name), drawing)
    body = re.sub(r">\s+<", "><", body)
    title, description = (html.escape(clean(text)) for text in (chart.title, chart.description))
    width, height = 72 * chart.figure.get_size_inches()
    attributes = f'viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{title}. {description}" class="chart"'
    words = f"<title>{title}</title><desc>{description}</desc>"
    if not alone:
        return f"<svg {attributes}>{words}{body}</svg>"
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    start = f'<?xml version="1.0" encoding="UTF-8"?>\n<svg {spaces} {attributes}>{words}<style>{color_rules()}'
    return f"{start}text{{font-family:{_SANS}}}svg{{background:var(--paper)}}</style>{body}</svg>\n"


def color_rules() -> str:
    """Return the CSS that defines the colour of each role for light and dark mode."""
    light, dark = ("".join(f"--{role}:{value};" for role, value in each.items()) for each in (LIGHT, DARK))
    return f":root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}"


def _tag_of_the_page(tag: str, name: str) -> str:
    """Return a tag with a tooltip, identifiers of this chart only, roles for colours, and the font of the page."""
    if hint := re.match(f'<g id="{_HINT}([^"]*)">', tag):
        return f"<g><title>{hint[1]}</title>"
    tag = re.sub(r'( id="|href="#)', rf"\g<0>{name}-", tag)
    for role, value in LIGHT.items():
        tag = tag.replace(value, f"var(--{role})")
    tag = re.sub(r' font-family: [^;"]*;?', "", tag)
    return re.sub(r"(\d\.\d\d)\d+", r"\1", tag)  # hundredths of a pixel are enough
