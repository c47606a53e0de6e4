"""Progress bars on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from segtool.cli.common import error_console, is_quiet


@contextmanager
def progress_bar(unit: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a callback (done, total) that moves a bar on stderr, with the number of finished `unit` beside it.

    Without a terminal, or with -q, it shows nothing.
    """
    with stages_bar(unit) as move:
        yield lambda done, total: move("", done, total)


@contextmanager
def stages_bar(unit: str = "") -> Iterator[Callable[[str, float, float], None]]:
    """Yield a callback (stage, done, total) that moves one bar on stderr, as `progress_bar` does, from stage to stage.

    The bar shows the name of the stage and the time left of it; it pulses while `total` is 0.
    """
    if is_quiet() or not error_console().is_terminal:
        yield lambda *_: None
        return
    # Imported here, because a device that shows no bar does not need it.
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[count]}"))
    with Progress(*columns, TimeRemainingColumn(), console=error_console(), transient=True) as bar:
        task = bar.add_task("", total=None, count="")

        def move(stage: str, done: float, total: float) -> None:
            nonlocal task
            if bar.tasks[0].description != stage:
                bar.remove_task(task)  # the time that is left is not that of the stage before
                task = bar.add_task(stage, total=None, count="")
            bar.update(task, completed=done, total=total or None, count=f"{done}/{total} {unit}" if unit else "")

        yield move
