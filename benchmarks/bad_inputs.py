"""Run the real command line on bad inputs: results/bad_inputs.json and results/bad_inputs.md."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bad.case import Case, prepare
from bad.table import cases
from commands import RESULTS, call, write_result

_TIME_LIMIT_S = 120


@dataclass(frozen=True)
class Outcome:
    """How a command ended; `code` is None where it did not end in time."""

    code: int | None
    stdout: str
    stderr: str


def main() -> None:
    """Try every case, write what came of it, and exit with 1 where one did not hold."""
    rows = []
    for case in cases():
        with tempfile.TemporaryDirectory() as name:
            row = tried(case, Path(name))
        print("ok  " if not row["problems"] else "FAIL", row["exit_code"], row["what"], *row["problems"], sep=" | ")
        rows.append(row)
    failed = [row["what"] for row in rows if row["problems"]]
    write_result("bad_inputs", {"kinds": len(rows), "failed": failed, "cases": rows})
    (RESULTS / "bad_inputs.md").write_text(table(rows), encoding="utf-8")
    sys.exit(1 if failed else 0)


def tried(case: Case, folder: Path) -> dict[str, Any]:
    """Run a case in an empty folder; return what was found, and what of it is not as it should be."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        prepare()
        case.make()
        files = _contents(folder)
        outcome = _run(_arguments(case), folder)
        problems = [*_wrong_end(case, outcome), *_wrong_files(case, files, folder)]
        sentence = the_sentence(case, outcome, folder)
        problems += _wrong_sentence(case, sentence)
    finally:
        os.chdir(before)
    return {
        "what": case.what,
        "command": " ".join(["segtool", *map(_shown, case.arguments)]),
        "exit_code": outcome.code,
        "sentence": _shown(sentence),
        "problems": problems,
    }


def _arguments(case: Case) -> tuple[str, ...]:
    """Return the arguments, with the small model for a prediction that names none."""
    if case.arguments[0] == "predict" and "--model" not in case.arguments and case.code != 2:
        return (*case.arguments, "--model", "model.onnx")
    return case.arguments


def _run(arguments: tuple[str, ...], folder: Path) -> Outcome:
    command = call(*(os.fsencode(item) if isinstance(item, str) else item for item in arguments))
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=_TIME_LIMIT_S)
    except subprocess.TimeoutExpired:
        return Outcome(None, "", "")
    return Outcome(done.returncode, *(text.decode(errors="replace") for text in (done.stdout, done.stderr)))


def the_sentence(case: Case, outcome: Outcome, folder: Path) -> str:
    """Return what the command says of the bad input: its manifest's entry, its report, or the error on stderr."""
    manifests = list(folder.glob("*/manifest.json"))
    if case.arguments[0] == "predict" and manifests and "Error:" not in outcome.stderr:
        entries = json.loads(manifests[0].read_text(encoding="utf-8"))["entries"]
        return " ".join(entry["error"] for entry in entries if entry.get("error"))
    lines = [line.removeprefix("Error: ") for line in outcome.stderr.splitlines() if line.startswith("Error: ")]
    if lines:
        return " ".join(lines)
    # A report on stdout: a table of problems, or the verdict of a gate.
    return " ".join(" ".join(line.strip("│┃┏┓└┘┡┩━─┴┳╇ ").split()) for line in outcome.stdout.splitlines()).strip()


def _wrong_end(case: Case, outcome: Outcome) -> list[str]:
    problems = [] if outcome.code == case.code else [f"exit code {outcome.code}, expected {case.code}"]
    if "Traceback" in outcome.stderr + outcome.stdout:
        problems.append("a traceback: " + outcome.stderr.strip().splitlines()[-1][:200])
    if "\x1b" in outcome.stderr + outcome.stdout:
        problems.append("an escape code reached the terminal")
    return problems


def _wrong_files(case: Case, before: Mapping[str, str], folder: Path) -> list[str]:
    """Return what became of the files that should not have: changed, unfinished, not done, or run by a pickle."""
    after = _contents(folder)
    problems = [f"{name} was changed" for name, digest in before.items() if after.get(name) != digest]
    problems += [f"{name} is left over" for name in after if ".segtool-" in name or "pwned" in name]
    if case.code == 3 and "predictions/good.png" not in after:
        problems.append("the good image was not done")
    if case.code in (1, 2) and case.arguments[0] != "predict" and set(after) != set(before):
        problems.append(f"it left {sorted(set(after) - set(before))}")
    return problems


def _wrong_sentence(case: Case, sentence: str) -> list[str]:
    problems = []
    if case.words not in sentence:
        problems.append(f"it does not say {case.words!r}: {_shown(sentence)[:300]}")
    if case.code not in (2, 4) and (not sentence.rstrip(" │").endswith(".") or len(sentence) > 900):
        problems.append(f"no clear sentence: {_shown(sentence)[-200:]}")
    return problems


def _contents(folder: Path) -> dict[str, str]:
    """Return every file and folder below a folder with a digest of what it holds."""
    found = {}
    for path in sorted(folder.rglob("*")):
        regular = path.is_file() and not path.is_symlink() and path.stat().st_size < 2**27
        name = path.relative_to(folder).as_posix()
        found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if regular else str(path.is_symlink())
    return found


def _shown(text: str) -> str:
    """Return a text that can be printed: unprintable characters escaped, long names shortened."""
    shown = "".join(item if item.isprintable() else ascii(item)[1:-1] for item in text)
    return shown.replace("n" * 300, "nnn...n")


def table(rows: list[dict[str, Any]]) -> str:
    """Return the cases as Markdown."""
    lines = [
        "# Bad inputs",
        "",
        f"{len(rows)} kinds of bad input, each tried through the real command line by `benchmarks/bad_inputs.py`: the "
        "exit code, and what the command says. In every case no traceback was printed, no file that was there was "
        "changed, and a good image beside a bad one was done.",
        "",
        "| what | command | exit code | sentence |",
        "| --- | --- | --- | --- |",
    ]
    for row in rows:
        cells = (str(row[key]).replace("|", "\\|") for key in ("what", "command", "exit_code", "sentence"))
        what, command, code, sentence = cells
        lines.append(f"| {what} | `{command}` | {code} | {sentence} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
