"""The look of every chart and picture, and how a figure of matplotlib becomes a PNG or an SVG.

Colours are roles (ink, muted, s0, ...). A PNG has the light ones. In an SVG they are CSS variables, so the page, or the
file itself, gives them for light and dark. Figures are made with the object API: neither a display nor ``pyplot``
is needed, and no figure outlives its call.
"""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtool.errors import DataError, MissingExtraError
from segtool.files import write_with
from segtool.models.backend import no_files_at_home
from segtool.text import shortened

# Distinct for the common kinds of colour blindness (after Okabe and Ito) and at least 4.5 : 1 on the page's ground.
LIGHT = {
    "paper": "#fcfcfa", "ink": "#1c1e21", "muted": "#5b6168", "rule": "#dcdad3",
    "s0": "#0b66b5", "s1": "#b84a06", "s2": "#00735a", "s3": "#9a3f82", "s4": "#7a5d00", "s5": "#4b5560",
}  # fmt: skip
DARK = {
    "paper": "#14161a", "ink": "#e6e7e9", "muted": "#a3a9b1", "rule": "#343940",
    "s0": "#6bb3f2", "s1": "#f2965a", "s2": "#4fc9a4", "s3": "#e3a0cd", "s4": "#dfba4c", "s5": "#b4bcc6",
}  # fmt: skip
INK, MUTED, RULE, PAPER = LIGHT["ink"], LIGHT["muted"], LIGHT["rule"], LIGHT["paper"]
SERIES = ("s0", "s1", "s2", "s3", "s4", "s5")

DPI = 150
"""Dots per inch of a picture; the size of a figure in pixels is its size in inches times this."""

MARGIN = 40
"""Pixels left and right of a picture."""

_FONT = "DejaVu Sans"  # ships inside matplotlib, so pictures look the same on every machine
_MAX_PIXELS = 2**16 - 1  # Agg draws no longer side
_HINT = "hint:"
_REPLACEMENT = "\ufffd"
# Control characters but tab and new line, marks that turn the direction of text, halves of surrogate pairs.
_HOSTILE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_SANS = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue','Liberation Sans',Arial,sans-serif"


@dataclass(frozen=True)
class Chart:
    """A drawing: its figure, what it is, and what can be read off it in words for those who do not see it."""

    title: str
    description: str
    figure: Any


def require_matplotlib() -> None:
    """Raise MissingExtraError with the line that installs matplotlib where it is missing."""
    try:
        with no_files_at_home():
            import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            'Pictures need matplotlib, which is not installed; run: pip install "segtool[report]"'
        ) from error


@contextmanager
def style(size: float = 9) -> Iterator[None]:
    """Set the look of the figures that are made or saved inside; `size` is that of the text, in points.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    """
    require_matplotlib()
    import matplotlib

    look = {
        "font.family": _FONT, "font.size": size, "text.color": INK, "text.parse_math": False, "axes.edgecolor": RULE,
        "axes.spines.top": False, "axes.spines.right": False, "axes.facecolor": "none", "axes.axisbelow": True,
        "axes.titlesize": "large", "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.labelcolor": MUTED,
        "axes.labelsize": "medium", "axes.formatter.useoffset": False, "axes.formatter.limits": (-4, 6),
        "xtick.color": RULE, "ytick.color": RULE, "xtick.labelcolor": MUTED, "ytick.labelcolor": MUTED,
        "grid.color": RULE, "grid.linewidth": 0.6, "legend.frameon": False, "svg.fonttype": "none",
        "svg.hashsalt": "segtool",
    }  # fmt: skip
    with matplotlib.rc_context(look), warnings.catch_warnings():
        # A name in a script that the font lacks: a browser has fonts of its own, and a PNG shows boxes.
        warnings.filterwarnings("ignore", message=r"Glyph \d+")
        yield


def new_figure(width: float, height: float, *, dpi: float = DPI) -> Any:
    """Return a figure of `width` x `height` pixels whose parts matplotlib lays out, inside `style`.

    Raises
    ------
    DataError
        A side is longer than matplotlib can draw.
    """
    from matplotlib.figure import Figure

    if max(width, height) > _MAX_PIXELS:
        raise DataError(
            f"The picture would be {width:.0f} x {height:.0f} pixels, at most {_MAX_PIXELS} a side can be drawn; "
            "plot fewer images or classes."
        )
    return Figure(figsize=(width / dpi, height / dpi), dpi=dpi, facecolor="white", layout="constrained")


def heading_height(notes: Sequence[str]) -> int:
    """Return the height in pixels that `write_heading` takes."""
    return 84 + 22 * len(notes)


def write_heading(figure: Any, title: str, notes: Sequence[str], *, room: int = 0) -> None:
    """Write a bold title and small notes at the top of a figure, and lay its axes out below them.

    Parameters
    ----------
    room
        Pixels that are left free below the notes.
    """
    width, height = figure.bbox.size
    left, used = MARGIN / width, (heading_height(notes) + room) / height
    text = shortened(drawable(title), int((width - 2 * MARGIN) / 21))
    figure.text(left, 1 - 42 / height, text, va="center", fontsize=15, fontweight="bold")
    figure.text(left, 1 - 68 / height, "\n".join(notes), va="top", color=MUTED, fontsize=8.5)
    bottom = 24 / height
    figure.get_layout_engine().set(rect=(left, bottom, 1 - 2 * left, 1 - bottom - used))


def save_png(figure: Any, path: str | Path, *, dpi: float = DPI) -> None:
    """Write a figure as PNG to `path`, atomically, inside `style`; errors as in `segtool.files.write_with`."""
    _lay_out(figure)
    write_with(path, lambda place: figure.savefig(place, format="png", dpi=dpi))


def _lay_out(figure: Any) -> None:
    """Place the parts of a figure for good; left to itself matplotlib draws all of it once more to do that."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine(None)
        for axes in figure.axes:  # its solver differs in the last bit from time to time
            axes.set_position([round(float(side), 6) for side in axes.get_position(original=True).bounds])


def clean(text: object) -> str:
    """Return text without control characters, halves of surrogate pairs and marks of direction.

    They cannot be written in UTF-8, or would let a name pose as another.
    """
    return _HOSTILE.sub(_REPLACEMENT, str(text))


def drawable(text: str) -> str:
    """Return `text` on one line, with a question mark for each character that the font of pictures lacks."""
    known = _known_characters()
    return "".join(character if ord(character) in known else "?" for character in " ".join(text.split()))


def drawable_names(class_names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the classes as they can be drawn; "class 3" for one that the font cannot write."""
    known = _known_characters()
    names = [" ".join(str(name).split()) for name in class_names]
    return tuple(
        name if name and all(ord(character) in known for character in name) else f"class {index}"
        for index, name in enumerate(names)
    )


def _known_characters() -> Any:
    require_matplotlib()
    from matplotlib.font_manager import findfont, get_font

    return get_font(findfont(_FONT)).get_charmap()


def set_hint(artist: Any, text: str) -> None:
    """Have `text` shown where the pointer rests on a part of an SVG."""
    artist.set_gid(_HINT + text)


def to_svg(chart: Chart, name: str, *, alone: bool = False) -> str:
    """Return a chart as an SVG element in the colours of the page, or as a file of its own that brings them along.

    Parameters
    ----------
    name
        Prefix of the identifiers in it, unique in the page.
    alone
        Whether it is a file of its own.
    """
    stream = io.StringIO()
    for artist in chart.figure.findobj():
        artist.set_clip_on(False)  # nothing lies outside, and no clip path needs an identifier
    with style():
        _lay_out(chart.figure)
        chart.figure.savefig(stream, format="svg", facecolor="none", metadata=dict.fromkeys(_METADATA))
    found = _ROOT.search(stream.getvalue())
    if found is None:
        raise TypeError("matplotlib wrote no SVG element.")
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
    """Return the CSS that gives every role its colour, light or dark as the reader prefers."""
    light, dark = ("".join(f"--{role}:{value};" for role, value in each.items()) for each in (LIGHT, DARK))
    return f":root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}"


_METADATA = ("Date", "Creator", "Format", "Type")
_ROOT = re.compile(
    r'<svg[^>]*viewBox="(?P<box>[^"]+)"[^>]*>\s*<defs>\s*<style.*?</style>\s*</defs>(?P<body>.*)</svg>', re.DOTALL
)
_ROLES = {value: role for role, value in LIGHT.items()}


def _of_the_page(body: str, name: str) -> str:
    """Return the inside of matplotlib's SVG with roles for colours, hints, and no identifiers but those it uses."""
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
