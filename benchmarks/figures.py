"""Write every table and plot of the README and the docs: `python benchmarks/figures.py [--check]`.

The facts come from results/*.json and from the code (`docs_facts.py`: rewrites, recipes, layers, presets, gates,
contract). With --check nothing is written, and the exit code is 1 if a file differs.
"""

from __future__ import annotations

import sys
from pathlib import Path

import docs_tables
from plots import family, footprint, scaling

ROOT = Path(__file__).resolve().parents[1]
DRAWINGS = {
    "docs/family.svg": family.drawing,
    "docs/scaling.svg": scaling.drawing,
    "docs/engines_footprint.svg": footprint.drawing,
}


def main() -> None:
    """Write, or with --check compare."""
    readme = ROOT / "README.md"
    wanted = {readme: docs_tables.filled(readme.read_text(encoding="utf-8"))}
    wanted |= {ROOT / name: draw() for name, draw in DRAWINGS.items()}
    wanted |= docs_tables.pages(ROOT / "docs")
    stale = [path for path, text in wanted.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    if "--check" in sys.argv[1:]:
        names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
        sys.exit(
            f"{names}: not what benchmarks/results and the code say; run `python benchmarks/figures.py`."
            if stale
            else 0
        )
    for path in stale:
        path.write_text(wanted[path], encoding="utf-8")
        print("wrote", path.relative_to(ROOT))


if __name__ == "__main__":
    main()
