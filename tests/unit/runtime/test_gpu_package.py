"""onnxruntime-gpu on a machine without a GPU: CUDA is listed, does not start, and auto says so and goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnxruntime as ort
import pytest
from tiny_models import write_model

from segtool.doctor.provider_probe import probe_providers
from segtool.errors import ProviderError
from segtool.runtime.session import CPU, open_session

NAME = "CUDAExecutionProvider"

pytestmark = pytest.mark.skipif(
    NAME not in ort.get_available_providers() or shutil.which("nvidia-smi") is not None,
    reason="needs onnxruntime-gpu and no GPU, see CONTRIBUTING.md",
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model.onnx")


def test_by_name_it_is_an_error_with_the_reason(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ProviderError, match=r"fell back to CPUExecutionProvider \(.+\)"):
        open_session(model, provider="cuda")
    assert capfd.readouterr() == ("", "")


def test_auto_goes_on_with_the_reason(model: Path) -> None:
    opened = open_session(model)
    assert opened.provider == CPU
    assert list(opened.refused) == [NAME]
    assert "fell back" in opened.refused[NAME]
    assert opened.refused[NAME] in opened.reason


def test_doctor_says_so() -> None:
    refusals = probe_providers()
    assert refusals[CPU] is None
    assert "does not start" in str(refusals[NAME])
