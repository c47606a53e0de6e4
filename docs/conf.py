"""How Sphinx builds this site: `sphinx-build -W docs build/site`; nothing in it is fetched when it is read."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

import segtool  # noqa: E402  the path above is for a checkout that is not installed

project = "segtool"
author = "The segtool developers"
copyright = author  # noqa: A001  Sphinx's name
version = release = segtool.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click", "sphinx_copybutton"]
exclude_patterns = ["_build"]
default_role = "literal"
highlight_language = "text"
smartquotes = False  # it makes one long dash of the two in front of an option
myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]

html_theme = "furo"  # system fonts, dark mode, nothing from other hosts
html_title = f"segtool {release}"
html_static_path = ["_static"]
html_css_files = ["segtool.css"]
html_show_sphinx = False
html_copy_source = False
pygments_style = "friendly"
pygments_dark_style = "github-dark"

# The site is built without TensorFlow: what autodoc imports needs the names of these alone.
autodoc_mock_imports = ["keras", "tensorflow", "tf2onnx", "onnx", "onnx_ir", "matplotlib"]
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_preprocess_types = False

_MARK = re.compile(r"^<!-- (ci runs|not run|heavy|file): (.+?) -->$", re.MULTILINE)
_WORDS = {
    "ci runs": "The tests run this shortened: <code>{}</code>",
    "not run": "Not run by the tests: {}",
    "heavy": "Run by the long tests alone: {}",
    "file": "<code>{}</code>",
}


def setup(app: Any) -> None:
    """Connect what turns our marks and click's texts into the page."""
    app.connect("source-read", _show_marks)
    app.connect("sphinx-click-process-description", _examples)


def _show_marks(app: Any, name: str, source: list[str]) -> None:
    """Show above a block how the tests run it: a comment in the source, a small line on the page."""
    source[0] = _MARK.sub(lambda found: f'<p class="how">{_WORDS[found[1]].format(found[2])}</p>\n', source[0])


def _examples(app: Any, context: Any, lines: list[str]) -> None:
    r"""Turn what click keeps as it is (behind \b) into a literal block under its first line."""
    told: list[str] = []
    inside = False
    for line in lines:
        kept = line.startswith("| ")
        if kept and not inside:
            told += [line[2:].rstrip().rstrip(":") + "::", ""]
        else:
            told.append(f"    {line[2:].strip()}" if kept else line)
        inside = kept
    lines[:] = told
