"""Runs the blocks of one page, in order, in the folder where it is started: JSON in on stdin, JSON out on stdout.

Shell blocks are run by bash, which stops at the first command that fails; Python blocks share one namespace. A
process of its own, because what a page imports or registers must not reach the tests after it.
"""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any


def main() -> None:
    """Run until a block fails; print what each gave."""
    namespace: dict[str, Any] = {"__name__": "page"}
    results = []
    for step in json.load(sys.stdin):
        results.append(_run(step, namespace))
        if results[-1]["code"]:
            break
    json.dump(results, sys.stdout)


def _run(step: dict[str, str], namespace: dict[str, Any]) -> dict[str, Any]:
    if step["kind"] == "file":
        path = Path(step["path"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(step["text"], encoding="utf-8")
        return {"code": 0, "out": "", "err": ""}
    if step["kind"] == "sh":
        call = ["bash", "-euo", "pipefail", "-c", step["text"]]
        done = subprocess.run(call, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        return {"code": done.returncode, "out": done.stdout, "err": done.stderr}
    return _python(step, namespace)


def _python(step: dict[str, str], namespace: dict[str, Any]) -> dict[str, Any]:
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            exec(compile(step["text"], step["where"], "exec"), namespace)  # noqa: S102  the pages are ours
    except Exception:  # noqa: BLE001  whatever a page's code raises is its result
        return {"code": 1, "out": out.getvalue(), "err": traceback.format_exc()}
    return {"code": 0, "out": out.getvalue(), "err": ""}


if __name__ == "__main__":
    main()
