"""HTML and SVG as text in which nothing is left unescaped: names of classes, files and data come from others."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable

_VOID = frozenset({"br", "col", "img", "input", "link", "meta"})
# Characters that turn the direction of the text around them can make one name look like another.
_DIRECTIONS = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_REPLACEMENT = "\ufffd"


class Html(str):
    """Text that is markup already; everything else is escaped where it is put into a tag."""

    __slots__ = ()


Child = str | int | float | None | Iterable["Child"]
Attribute = str | int | float | bool | None


def escape(text: object) -> str:
    """Return `text` safe in an element and in a quoted attribute.

    Besides the five characters of HTML, control characters, halves of surrogate pairs and marks of direction are
    replaced: they cannot be written in UTF-8, or would let a name pose as another.
    """
    clean = "".join(_REPLACEMENT if _is_hostile(character) else character for character in str(text))
    return html.escape(clean, quote=True)


def tag(name: str, /, *children: Child, **attributes: Attribute) -> Html:
    """Return an element.

    Parameters
    ----------
    name
        Name of the element.
    children
        `Html` as it is, other text escaped, None left out, iterables one after the other.
    attributes
        Without a trailing underscore and with ``-`` for the others (``class_``, ``aria_label``); True for one
        without a value, None and False to leave it out.
    """
    start = f"<{name}{''.join(_attribute(key, value) for key, value in attributes.items())}>"
    return Html(start if name in _VOID else f"{start}{join(children)}</{name}>")


def join(children: Child) -> Html:
    """Return children one after the other as markup, as in `tag`."""
    if children is None:
        return Html("")
    if isinstance(children, Html):
        return children
    if isinstance(children, str | int | float):
        return Html(escape(children))
    return Html("".join(join(child) for child in children))


def _attribute(key: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(value)}"'


def _is_hostile(character: str) -> bool:
    if character in "\n\t":
        return False
    return character in _DIRECTIONS or unicodedata.category(character) in ("Cc", "Cs")
