"""The frame of the trainings of named variants: what is finished is kept, what is missing is trained."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import variants

VARIANTS = {"short, seed 1": None, "no flip": None}


def test_only_missing_variants_are_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "work" / "short-seed-1"
    run.mkdir(parents=True)
    (run / "metrics.json").write_text(json.dumps({"best_epoch": 2, "val": {"mean_iou": 0.5}}))
    info = {"recipe_values": {}, "seed": 1, "parameters": 9, "precision": {"name": "float32"}}
    (run / "run.json").write_text(json.dumps(info))
    (run / "history.csv").write_text("epoch,seconds\n1,2.4\n2,2.3\n")
    script = tmp_path / "script.py"
    script.write_text("import sys, pathlib; pathlib.Path(sys.argv[3], 'trained').write_text(' '.join(sys.argv[4:]))")
    monkeypatch.setattr(sys, "argv", [str(script), "data", "--work", str(tmp_path / "work")])
    arguments = variants.parsed("", VARIANTS, data="", work="unused")
    variants.train_missing(VARIANTS, arguments)
    assert (tmp_path / "work" / "trained").read_text() == "--trial no flip"
    facts, scores, rows = variants.finished("short, seed 1", arguments.work)
    assert (facts["seconds"], facts["best_epoch"], scores["mean_iou"], len(rows)) == (5, 2, 0.5, 2)


def test_a_training_that_fails_ends_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (script := tmp_path / "script.py").write_text("raise SystemExit(1)")
    monkeypatch.setattr(sys, "argv", [str(script), "data", "--work", str(tmp_path), "--only", "no flip"])
    with pytest.raises(subprocess.CalledProcessError):
        variants.train_missing(VARIANTS, variants.parsed("", VARIANTS, data="", work=""))
