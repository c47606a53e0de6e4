"""benchmarks/arm.py: what it reads in qemu's log, and that the damage it does is found here too."""

import sys
import zipfile
from pathlib import Path

import pytest

from segtool.errors import ModelFileError
from segtool.models.shipped import SHIPPED
from segtool.runtime.opening import load

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import aarch64
import arm


def test_instructions_are_counted_in_a_log_of_qemu(tmp_path: Path) -> None:
    words = {
        "4e829420": "sdot v0.4s, v1.16b, v2.16b",
        "4f82e020": "sdot v0.4s, v1.16b, v2.4b[0]",
        "6e829420": "udot v0.4s, v1.16b, v2.16b",
        "6e82a420": "ummla v0.4s, v1.16b, v2.16b",
        "45c29820": "ummla z0.s, z1.b, z2.b",
        "4e82a420": "smmla v0.4s, v1.16b, v2.16b",
        "0e228020": "smlal v0.8h, v1.8b, v2.8b",
        "4e22c020": "smull2 v0.8h, v1.16b, v2.16b",
        "4e22cc20": "fmla v0.4s, v1.4s, v2.4s",
        "8b020020": "add x0, x1, x2",
    }
    log = tmp_path / "log"
    log.write_text("IN: \n" + "".join(f"0x7f54027fae40:  {word}  {text}\n" for word, text in words.items()))
    assert aarch64.translated(log) == {"SDOT": 2, "UDOT": 1, "UMMLA": 2, "SMMLA": 1, "SMLAL": 2}
    assert not log.exists()


def test_wheels_are_compared_by_their_files_and_not_by_the_times_of_these(tmp_path: Path) -> None:
    def wheel(year: int, text: str) -> dict[str, int]:
        with zipfile.ZipFile(tmp_path / "a.whl", "w") as opened:
            opened.writestr(zipfile.ZipInfo("module.py", (year, 1, 1, 0, 0, 0)), text)
        return aarch64.contents(tmp_path / "a.whl")

    assert wheel(2020, "x = 1") == wheel(2021, "x = 1")
    assert wheel(2020, "x = 1") != wheel(2020, "x = 2")


def test_files_without_a_new_result_keep_the_earlier_one_with_its_command() -> None:
    def row(processor: str, file: str, **facts: str) -> dict[str, str]:
        return {"processor": processor, "network": "fcn8", "file": file, **facts}

    earlier = {
        "made_by": "first",
        "note": "First.",
        "processors": [{"name": "max", "seen": 1}],
        "files": [row("max", "arm", seen="1"), row("max", "x86", seen="1"), row("max", "vnni", made_by="zeroth")],
    }
    found = {
        "note": "New.",
        "processors": [],
        "files": [row("max", "arm", seen="2"), row("cortex-a72", "FP32", seen="2")],
    }
    both = arm.with_earlier(found, earlier)
    assert both["processors"] == earlier["processors"]
    assert both["note"] == "New. First."
    assert both["files"] == [
        row("cortex-a72", "FP32", seen="2"),
        row("max", "arm", seen="2"),
        row("max", "x86", seen="1", made_by="first"),
        row("max", "vnni", made_by="zeroth"),
    ]
    complete = {
        "note": "New.",
        "processors": [{"name": "max", "seen": 2}],
        "files": [{**each, "seen": "2"} for each in earlier["files"]],
    }
    assert arm.with_earlier(complete, earlier) == complete


@pytest.mark.parametrize("kind", ["weights", "golden"])
def test_verify_finds_a_damaged_file(tmp_path: Path, kind: str) -> None:
    assert load(SHIPPED).verify().passed
    assert not load(arm.damaged(SHIPPED, tmp_path / "model.onnx", kind)).verify().passed


def test_a_changed_byte_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="damaged"):
        load(arm.damaged(SHIPPED, tmp_path / "model.onnx", "byte"))


def test_an_environment_that_cannot_be_built_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aarch64.platform, "machine", lambda: "riscv64")
    with pytest.raises(SystemExit, match="needs Linux on x86_64, and this is linux on riscv64"):
        aarch64.Environment(tmp_path / "none").build()
    monkeypatch.setattr(aarch64.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(aarch64.shutil, "which", lambda _: None)
    with pytest.raises(SystemExit, match="apt-get and dpkg not found"):
        aarch64.Environment(tmp_path / "none").build()
    assert not (tmp_path / "none").exists()
