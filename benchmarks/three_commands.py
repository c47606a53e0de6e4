"""Run the three commands of the README, unchanged, in an empty folder: results/three_commands.json."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from commands import segtool, write_result


def main() -> None:
    """Run them, and count what is there afterwards."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        steps = [segtool("train", cwd=folder), segtool("export", "--quantize", cwd=folder)]
        images = sorted(str(path.relative_to(folder)) for path in (folder / "images").glob("*.png"))
        steps.append(segtool("predict", *images, cwd=folder))  # what the shell makes of images/*.png
        latest = folder / "runs" / "latest"
        run = json.loads((latest / "run.json").read_text())
        metrics = json.loads((latest / "metrics.json").read_text())
        write_result(
            "three_commands",
            {
                "steps": steps,
                "files": sorted(path.name for path in latest.iterdir() if not path.name.startswith(".")),
                "images": images,
                "label_maps": sorted(path.name for path in (folder / "predictions").glob("*.png")),
                "run": {key: run[key] for key in ("arch", "recipe", "epochs", "batch_size", "precision", "versions")},
                "data": run["data"],
                "best_epoch": metrics["best_epoch"],
                "val": {key: value for key, value in metrics["val"].items() if key != "confusion_matrix"},
            },
        )


if __name__ == "__main__":
    main()
