"""What all commands share: errors and exit codes, -v/-q/--debug, tables and JSON."""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import sys
import time
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import click

from segtool.errors import SegtoolError
from segtool.files import nan_to_none

if TYPE_CHECKING:
    from rich.console import Console, JustifyMethod
    from rich.table import Table

SCHEMA_VERSION = 1
EXIT_PARTLY = 3

NOTHING_KEPT = "nothing was written"
WHOLE_FILES_KEPT = "the files that it had finished are there, each of them whole"


class Command(click.Command):
    """A command that turns a `SegtoolError` into one sentence on stderr and its exit code, and a Ctrl-C likewise.

    It adds ``-v``, ``-q`` and ``--debug`` to the options of each command. `kept` says what a stop leaves behind.
    """

    def __init__(self, *args: Any, kept: str = NOTHING_KEPT, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._kept = kept
        self.params.extend(
            [
                click.Option(["-v", "--verbose"], is_flag=True, help="Say more on stderr."),
                click.Option(["-q", "--quiet"], is_flag=True, help="Say only warnings and errors on stderr."),
                click.Option(["--debug"], is_flag=True, help="Show the traceback of an error."),
            ]
        )

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command with logging set up and errors turned into exit codes."""
        verbose, quiet, debug = (ctx.params.pop(name) for name in ("verbose", "quiet", "debug"))
        if verbose and quiet:
            raise click.UsageError("-v and -q exclude each other.")
        ctx.obj = {"quiet": quiet, "verbose": verbose}
        begun = time.time()
        _set_up_logging(verbose=verbose)
        came = _interrupted_by_signals()
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, SegtoolError, ImportError) as error:
            if came or isinstance(error, KeyboardInterrupt):  # libraries make an ImportError of a Ctrl-C, say
                written = _written_since(begun, ctx.params.values())
                _stop(ctx, f"{' and '.join(written)} was written" if written else self._kept)
            if not isinstance(error, SegtoolError):
                raise
            _fail(ctx, str(error), error.exit_code, debug=debug)
        except OSError as error:
            if error.errno == errno.EPIPE:  # the reader of our output has gone: click ends quietly
                raise
            _fail(ctx, _refused_by_system(error), SegtoolError.exit_code, debug=debug)


def _interrupted_by_signals() -> list[int]:
    """Let SIGTERM, which systemd and docker send to stop a program, interrupt as Ctrl-C does; return what came so far.

    Whoever ignores Ctrl-C, or handles it in a way of their own, goes on to do so.
    """
    came: list[int] = []

    def interrupt(number: int, _: FrameType | None) -> NoReturn:
        came.append(number)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    return came


def _fail(ctx: click.Context, message: str, code: int, *, debug: bool) -> NoReturn:
    if debug:
        error_console().print_exception()
    error_console().print(f"Error: {printable(message, lines=False)}", style="red", markup=False, soft_wrap=True)
    ctx.exit(code)


def _stop(ctx: click.Context, kept: str) -> NoReturn:
    message = printable(f"Stopped: `{ctx.command_path}` did not come to its end; {kept}.", lines=False)
    error_console().print(message, style="red", markup=False, soft_wrap=True)
    ctx.exit(SegtoolError.exit_code)


def _written_since(begun: float, values: Iterable[object]) -> list[str]:
    """Return those of a command's arguments that are files which were written after it began."""
    files = [value for value in values if isinstance(value, Path) and value.is_file()]
    return [str(file) for file in files if file.stat().st_mtime >= begun]


def _refused_by_system(error: OSError) -> str:
    """Return the sentence for what no function foresaw: a name that is too long, a folder that may not be read."""
    where = f" {error.filename}" if error.filename else ""
    return f"The operating system refused{where} ({error.strerror or error}); check the path and its permissions."


class Group(click.Group):
    """A group whose commands are `Command`s, listed in the order in which they were added."""

    command_class = Command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was named; end in one line where Ctrl-C comes while it is imported."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _stop(ctx, NOTHING_KEPT)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the commands in the order of the road: train, export, predict, ..."""
        return list(self.commands)


@cache
def error_console() -> Console:
    """Return the console of stderr; rich is imported at its first use, which may be while a model is opened."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, emoji=False)


def is_quiet() -> bool:
    """Return whether the current command was called with -q."""
    context = click.get_current_context(silent=True)
    return bool(context and (context.obj or {}).get("quiet"))


def say(message: str) -> None:
    """Print a line for people on stderr, unless -q was given."""
    if not is_quiet():
        error_console().print(printable(message), markup=False, soft_wrap=True)


def emit_json(command: str, payload: Mapping[str, Any]) -> None:
    """Print the one JSON object of a command on stdout; NaN becomes null."""
    click.echo(json.dumps(nan_to_none({"schema_version": SCHEMA_VERSION, "command": command, **payload}), indent=2))


def emit_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    title: str | None = None,
    text: bool = False,
    whole: bool = False,
) -> None:
    """Print a table on stdout; columns after the first hold numbers, aligned to the right, unless `text` says else.

    Cells wrap where the table is too wide; with `whole` only those of the first column.
    """
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    print_tables([table_of(columns, cells, text=text, whole=whole)], title=title)


def print_tables(tables: Iterable[Table], *, title: str | None = None) -> None:
    """Print tables on stdout, below a title."""
    console = output_console()
    if title:
        console.print(printable(title), markup=False, soft_wrap=True)
    for table in tables:
        console.print(table)


def output_console() -> Console:
    """Return the console of stdout, as wide as its tables may be."""
    from rich.console import Console

    return Console(file=sys.stdout, highlight=False, emoji=False, width=table_width())


def table_of(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, text: bool = False, whole: bool = False
) -> Table:
    """Return a table of printable cells."""
    from rich.table import Table
    from rich.text import Text

    table = Table(header_style="bold")
    for index, column in enumerate(columns):
        justify: JustifyMethod = "left" if index == 0 or text else "right"
        table.add_column(Text(column), justify=justify, overflow="fold", no_wrap=whole and index > 0)
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def table_width() -> int:
    """Return how many characters a line on stdout has: COLUMNS, the terminal's, or 120 of a file or a pipe."""
    from rich.console import Console

    said = sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdecimal()
    return Console(file=sys.stdout).width if said else 120


def printable(text: str, *, lines: bool = True) -> str:
    r"""Return a text without codes that a terminal would obey or refuse: names come from files of others.

    Control characters and halves of surrogate pairs become \\x1b and the like; line breaks too unless `lines`.
    """
    kept = "\n\t" if lines else ""
    return "".join(
        ascii(item)[1:-1] if unicodedata.category(item) in ("Cc", "Cs") and item not in kept else item for item in text
    )


class _PrintableFormatter(logging.Formatter):
    """Lets no message of the log write to the terminal what `printable` takes out."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (the name is the base class's)
        """Return the message in one line."""
        return printable(super().formatMessage(record), lines=False)


class _LogHandler(logging.Handler):
    """Rich's handler, imported with the first message."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message."""
        _rich_handler().emit(record)


@cache
def _rich_handler() -> logging.Handler:
    from rich.logging import RichHandler

    handler = RichHandler(console=error_console(), show_time=False, show_path=False, markup=False)
    handler.setFormatter(_PrintableFormatter("%(message)s"))
    return handler


def _set_up_logging(*, verbose: bool) -> None:
    logger = logging.getLogger("segtool")
    logger.setLevel(logging.DEBUG if verbose else logging.WARNING)
    logger.handlers = [_LogHandler()]
    logger.propagate = False
