"""Progress bars on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from segtool.cli.common import error_console, is_quiet


@contextmanager
def progress_bar(unit: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a callback (done, total) that moves a bar on stderr. Without a terminal, or with -q, it shows nothing.

    From the first call on, the number of finished `unit` is shown beside the bar; nothing if `unit` is empty.
    """
    if is_quiet() or not error_console().is_terminal:
        yield lambda done, total: None  # noqa: ARG005 (the callback's arguments)
        return
    # Imported here, because a device that shows no bar does not need it.
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[count]}"), TimeRemainingColumn())
    with Progress(*columns, console=error_console(), transient=True) as progress:
        task = progress.add_task("", total=None, count="")
        yield lambda done, total: progress.update(
            task, completed=done, total=total, count=f"{done}/{total} {unit}" if unit else ""
        )


@contextmanager
def stages_bar() -> Iterator[Callable[[str, int, int], None]]:
    """Yield a callback (stage, done, total) that moves one bar on stderr, as `progress_bar` does, from stage to stage.

    The bar has the name of the stage, and the time that is left of it; it pulses while `total` is 0.
    """
    if is_quiet() or not error_console().is_terminal:
        yield lambda what, done, total: None  # noqa: ARG005 (the callback's arguments)
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=error_console(), transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(what: str, done: int, total: int) -> None:
            nonlocal task
            if bar.tasks[0].description != what:
                bar.remove_task(task)  # the time that is left is not that of the stage before
                task = bar.add_task(what, total=None)
            bar.update(task, completed=done, total=total or None)

        yield show
