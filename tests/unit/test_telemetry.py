"""onnxruntime's usage events are off by the environment, and the user's own word on them stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from segtool.doctor.environment import examine
from segtool.telemetry import VARIABLE, usage_events

BEFORE = "import os, sys; before = dict(os.environ); "
AFTER = "; import json; print(json.dumps([{k: v for k, v in os.environ.items() if before.get(k) != v}, list(before)]))"


def run(code: str, **changes: str | None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, VARIABLE: None, **changes}
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={name: value for name, value in environment.items() if value is not None},
    )


def changed(code: str, **changes: str | None) -> dict[str, str]:
    values: dict[str, str] = json.loads(run(BEFORE + code + AFTER, **changes).stdout.splitlines()[-1])[0]
    return values


@pytest.mark.parametrize(
    "code",
    [
        "import segtool",
        "import segtool.contract",
        "from segtool.predict.ray_engine import worker",  # what a Ray worker imports first, to make an actor
        "from segtool.export import running",  # opens sessions of its own
        "from segtool.runtime.engine import ort",
    ],
)
def test_it_is_off_before_onnxruntime_is_imported_and_nothing_else_is_set(code: str) -> None:
    watch = (
        "import importlib.abc\n"
        "class Watch(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        f"        if name == 'onnxruntime' and os.environ.get({VARIABLE!r}) != '1': sys.exit('too early')\n"
        "sys.meta_path.insert(0, Watch())\n"
    )
    assert changed(f"\n{watch}{code}\nimport onnxruntime") == {VARIABLE: "1"}


@pytest.mark.parametrize("value", ["0", "1", "true"])
def test_a_value_of_the_user_stays(value: str) -> None:
    assert changed("import segtool.runtime.engine", **{VARIABLE: value}) == {}


def test_no_value_is_not_a_word_of_the_user() -> None:
    assert changed("import segtool", **{VARIABLE: ""}) == {VARIABLE: "1"}


class TestAHostProgramThatImportedOnnxruntimeFirst:
    FAKE = (
        "import sys, types; ort = sys.modules['onnxruntime'] = types.ModuleType('onnxruntime'); ort.__version__ = {!r}"
    )

    @pytest.mark.parametrize(("version", "warnings"), [("1.28.1", 0), ("1.29.0", 1), ("1.32.0", 1), ("2.0.0", 1)])
    def test_it_is_warned_once_where_that_version_has_usage_events(self, version: str, warnings: int) -> None:
        # Of the module only its version is asked: any can be put in its place.
        code = f"{self.FAKE.format(version)}; import segtool, segtool.errors; import segtool"
        lines = run(code).stderr.splitlines()
        assert len(lines) == warnings
        assert all(version in line and f"{VARIABLE}=1" in line for line in lines)

    def test_what_it_starts_is_silent_all_the_same(self) -> None:
        assert changed(f"{self.FAKE.format('1.32.0')}; import segtool") == {VARIABLE: "1"}

    @pytest.mark.parametrize("value", ["0", "1"])
    def test_a_decision_is_not_warned_of(self, value: str) -> None:
        assert run(f"{self.FAKE.format('1.32.0')}; import segtool", **{VARIABLE: value}).stderr == ""


@pytest.mark.parametrize(
    ("version", "value", "state"),
    [
        (None, None, "none"),
        ("1.20.0", None, "none"),
        ("1.28.2", "0", "none"),
        ("1.29.0", None, "on"),
        ("1.32.0", "0", "on"),
        ("1.32.0", "2", "on"),
        ("1.32.0", " Yes ", "off"),
        ("1.33.0.dev20261101", "1", "off"),
        ("2.1", "1", "off"),
    ],
)
def test_what_a_version_does(version: str | None, value: str | None, state: str) -> None:
    assert usage_events(version, {} if value is None else {VARIABLE: value}) == state


def test_doctor_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    monkeypatch.setenv(VARIABLE, "1")
    report = examine()
    sends = usage_events(onnxruntime.__version__, {}) == "on"
    assert report["usage_events"] == ("off" if sends else "none")
    assert not [item for item in report["findings"] if VARIABLE in item["finding"]]
    monkeypatch.setenv(VARIABLE, "0")
    found = [item for item in examine()["findings"] if VARIABLE in item["finding"]]
    assert [item["severity"] for item in found] == ["warning"] * sends
