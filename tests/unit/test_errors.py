"""Errors of libraries in one sentence of segtool's."""

from segtool.errors import first_line, reason_of


def test_the_first_line_of_an_error() -> None:
    assert first_line(ValueError("\n a size of 0.\n  at line 3")) == "a size of 0"
    assert first_line(KeyError()) == "KeyError"


def test_the_reason_of_the_operating_system() -> None:
    assert reason_of(OSError(2, "No such file or directory", "a.png")) == "No such file or directory"
    assert reason_of(ValueError("a size of 0")) == "a size of 0"
