"""Fixtures that several unit tests share."""

import tempfile

import pytest
from tiny_nets import write_run


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run folder; leftovers in the folder for temporary files fail the test."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    yield write_run(tmp_path / "run")
    assert not [*temporary.iterdir()]
