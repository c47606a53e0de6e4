"""The conversion of a chart to SVG: colours are CSS variables, so the page or the file defines them for both modes."""

from __future__ import annotations

import html
import io
import re
from dataclasses import dataclass
from typing import Any

from segtool.report.style import LIGHT, lay_out, style

DARK = {
    "paper": "#14161a", "ink": "#e6e7e9", "muted": "#a3a9b1", "rule": "#343940",
    "s0": "#6bb3f2", "s1": "#f2965a", "s2": "#4fc9a4", "s3": "#e3a0cd", "s4": "#dfba4c", "s5": "#b4bcc6",
}  # fmt: skip

_HINT = "hint:"
_REPLACEMENT = "\ufffd"
# Control characters except tab and newline, text direction marks, lone surrogates.
_HOSTILE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_SANS = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue','Liberation Sans',Arial,sans-serif"


@dataclass(frozen=True)
class Chart:
    """A chart: its title, a description in words for screen readers, and its figure."""

    title: str
    description: str
    figure: Any


def clean(text: object) -> str:
    """Return text without control characters, lone surrogates and direction marks.

    These cannot be written in UTF-8, or can make a name look like another one.
    """
    return _HOSTILE.sub(_REPLACEMENT, str(text))


def set_hint(artist: Any, text: str) -> None:
    """Set `text` as the tooltip of a part of an SVG."""
    artist.set_gid(_HINT + text)


def to_svg(chart: Chart, name: str, *, alone: bool = False) -> str:
    """Return a chart as an SVG element with the colours of the page, or as a stand-alone SVG file.

    Parameters
    ----------
    name
        Prefix of its identifiers, unique in the page.
    alone
        Whether it is a stand-alone file, which includes the colours.
    """
    stream = io.StringIO()
    for artist in chart.figure.findobj():
        artist.set_clip_on(False)  # nothing lies outside, so clip paths and their identifiers are not needed
    with style():
        lay_out(chart.figure)
        chart.figure.savefig(stream, format="svg", facecolor="none", metadata=dict.fromkeys(_METADATA))
    found = _ROOT.search(stream.getvalue())
    if found is None:
        raise TypeError("matplotlib wrote no <svg> element.")
    title, description = (html.escape(clean(text)) for text in (chart.title, chart.description))
    attributes = f'viewBox="{found["box"]}" role="img" aria-label="{title}. {description}" class="chart"'
    words = f"<title>{title}</title><desc>{description}</desc>"
    body = _of_the_page(found["body"], name)
    if not alone:
        return f"<svg {attributes}>{words}{body}</svg>"
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    start = f'<?xml version="1.0" encoding="UTF-8"?>\n<svg {spaces} {attributes}>{words}<style>{color_rules()}'
    return f"{start}text{{font-family:{_SANS}}}svg{{background:var(--paper)}}</style>{body}</svg>\n"


def color_rules() -> str:
    """Return the CSS that defines the colour of each role for light and dark mode."""
    light, dark = ("".join(f"--{role}:{value};" for role, value in each.items()) for each in (LIGHT, DARK))
    return f":root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}"


_METADATA = ("Date", "Creator", "Format", "Type")
_ROOT = re.compile(
    r'<svg[^>]*viewBox="(?P<box>[^"]+)"[^>]*>\s*<defs>\s*<style.*?</style>\s*</defs>(?P<body>.*)</svg>', re.DOTALL
)
_ROLES = {value: role for role, value in LIGHT.items()}


def _of_the_page(body: str, name: str) -> str:
    """Return the body of a matplotlib SVG with roles for colours, tooltips, and only the identifiers in use."""
    used = frozenset(re.findall(r'href="#([^"]+)"', body))
    tagged = re.sub(r"<[^>]+>", lambda found: _tag_of_the_page(found[0], name, used), clean(body))
    return re.sub(r">\s+<", "><", tagged)


def _tag_of_the_page(tag: str, name: str, used: frozenset[str]) -> str:
    if hint := re.match(f'<g id="{_HINT}([^"]*)">', tag):
        return f"<g><title>{hint[1]}</title>"
    tag = re.sub(r' id="([^"]+)"', lambda found: f' id="{name}-{found[1]}"' if found[1] in used else "", tag)
    tag = tag.replace('href="#', f'href="#{name}-').replace("\n", " ")
    tag = re.sub("#[0-9a-f]{6}", lambda found: f"var(--{_ROLES[found[0]]})" if found[0] in _ROLES else found[0], tag)
    tag = re.sub(r" font-family: [^;\"]*;?", "", tag)
    return re.sub(r"(\d\.\d\d)\d+", r"\1", tag)  # hundredths of a pixel are enough
