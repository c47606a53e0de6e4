"""The times of the stages of an export, which -v shows."""

from __future__ import annotations

import logging

import pytest

from segtool.export.stages import StageLog


def test_each_stage_is_logged_once_at_its_end_the_last_one_too(caplog: pytest.LogCaptureFixture) -> None:
    shown: list[tuple[str, int, int]] = []
    stages = StageLog(lambda *call: shown.append(call))
    calls = [("opening", 0, 0), ("parity", 1, 2), ("parity", 2, 2)]
    with caplog.at_level(logging.INFO, "segtool"):
        for call in calls:
            stages(*call)
        assert [record.args[0] for record in caplog.records] == ["opening"]
        stages.close()
    assert [record.args[0] for record in caplog.records] == ["opening", "parity"]
    assert shown == calls
