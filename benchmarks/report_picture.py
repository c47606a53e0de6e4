"""Draw docs/report.png: the first screen of the shipped model's report on generated images, in a real Chromium.

`python benchmarks/report_picture.py [REPORT.html]`; without a page it creates one (some minutes on a slow machine).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "report.png"
MODEL = "src/segtool/shipped/m2nist.int8.onnx"
SIZE = 1280, 1480

sys.path.insert(0, str(ROOT / "tests"))
from browser import browser, find_browser  # noqa: E402 - a client of the tests, not a package


def main() -> None:
    """Make the report and the picture of its first screen."""
    executable = find_browser()
    if executable is None:
        sys.exit("There is no Chromium here; install one, or name it in $CHROMIUM.")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(sys.argv[1]) if len(sys.argv) > 1 else made(Path(folder, "report.html"))
        shot = Path(folder, "report.png")
        with browser(executable, Path(folder, "profile")) as tab:
            tab.look(width=SIZE[0], height=SIZE[1])
            tab.open(page)
            tab.screenshot(shot)
        Image.open(shot).convert("RGB").save(PICTURE, optimize=True)
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1e3:.0f} KB")


def made(page: Path) -> Path:
    """Make the report of the shipped model."""
    command = [sys.executable, "-m", "segtool", "report", MODEL, "--out", str(page)]
    subprocess.run([*command, "--data", "m2nist-synthetic:200", "--split", "all"], cwd=ROOT, check=True)
    return page


if __name__ == "__main__":
    main()
