"""The style of all charts, and how they become PNG and SVG.

Colours are roles (ink, muted, s0, ...). In an SVG they are CSS variables, which the page or the file defines for light
and dark mode. Figures use the object API of matplotlib: they need no display and no ``pyplot``, and no figure stays in
memory after its call.
"""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtool.errors import MissingExtraError
from segtool.files import write_with
from segtool.models.backend import no_files_at_home
from segtool.text import clean

# Distinct for the common kinds of colour blindness (after Okabe and Ito) with a contrast of at least 4.5 : 1.
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

DPI = 150  # dots per inch of a picture: pixels = inches x DPI
_MARGIN = 0.25  # around a picture, in inches
_FONT = "DejaVu Sans"  # ships inside matplotlib, so pictures look the same on every machine
_HINT = "hint:"
_SANS = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue','Liberation Sans',Arial,sans-serif"


def require_matplotlib() -> None:
    """Raise MissingExtraError with the install command if matplotlib is missing."""
    try:
        with no_files_at_home():
            import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            'Pictures need matplotlib, which is not installed; run: pip install "segtool[report]"'
        ) from error


@contextmanager
def style(size: float = 9) -> Iterator[None]:
    """Set the style of figures that are created or saved in this context; `size` is the text size in points."""
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
        # The font may lack the script of a name: a browser then uses another font, and a PNG shows boxes.
        warnings.filterwarnings("ignore", message=r"Glyph \d+")
        yield


def new_figure(width: float, height: float, *, dpi: float = DPI) -> Any:
    """Return a figure of `width` x `height` pixels; call it inside `style`."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width / dpi, height / dpi), dpi=dpi, facecolor="white", layout="constrained")


def save_png(figure: Any, path: str | Path, *, dpi: float = DPI) -> None:
    """Write what is drawn, also outside of the figure, with a margin as PNG to `path`, atomically.

    Call it inside `style`; errors as in `segtool.files.write_with`.
    """
    lay_out(figure)
    box = {"bbox_inches": "tight", "pad_inches": _MARGIN}
    write_with(path, lambda place: figure.savefig(place, format="png", dpi=dpi, **box))


def lay_out(figure: Any) -> None:
    """Fix the layout of a figure; otherwise matplotlib draws everything a second time to compute it."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine(None)
        for axes in figure.axes:  # the layout solver is not exactly deterministic
            axes.set_position([round(float(side), 6) for side in axes.get_position(original=True).bounds])


def set_log(axis: Any) -> None:
    """Make an axis logarithmic, with plain numbers at round values; call it when all is drawn."""
    from matplotlib.ticker import LogLocator, NullLocator

    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 1e4 else (1, 3)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter("{x:g}")


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
