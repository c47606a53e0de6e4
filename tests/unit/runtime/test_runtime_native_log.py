"""What is taken from stderr while a provider starts, and what is passed on."""

from __future__ import annotations

import os

import pytest

from segtool.runtime.native_log import captured_errors, plain_message

LINES = (
    "\x1b[1;31m2026-01-31 10:00:00.1 [E:onnxruntime:Default, bridge.cc:23 Create] /ort/a/bridge.cc:14 "
    "std::string ns::Parse(std::shared_ptr<Core>, const Options&) [ERROR] [OpenVINO] Device GPU is not available\n"
    "\x1b[m\n"
    "\x1b[0;93m2026-01-31 10:00:00.2 [W:onnxruntime:Default, state.cc:1 Create] Failed to create it.\x1b[m\n"
)


def test_errors_are_collected_and_the_rest_is_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    with captured_errors() as errors:
        os.write(2, LINES.encode())
        os.write(2, b"somebody else's line\n")
    os.write(2, b"after\n")
    assert errors == ["[OpenVINO] Device GPU is not available"]
    assert capfd.readouterr().err == "somebody else's line\nafter\n"


def test_stderr_comes_back_when_the_block_fails(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="no model"), captured_errors():
        os.write(2, b"before\n")
        raise ValueError("no model")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "before\nafter\n"


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("/o/state.cc:10 std::shared_ptr<F> Create(const A&, const B&) Invalid option: x \n\n", "Invalid option: x"),
        ("/o/b.cc:2 P& Get() [ONNXRuntimeError] : 1 : FAIL : Failed (with brackets)", "Failed (with brackets)"),
        ("/o/b.cc:3 f(const A&)::<lambda(const std::string&)> JSON error", "JSON error"),
        ("a plain sentence.", "a plain sentence"),
    ],
)
def test_plain_message(text: str, plain: str) -> None:
    assert plain_message(text) == plain
