"""Code that all commands share: errors and exit codes, -v/-q/--debug, messages and JSON."""

from __future__ import annotations

import errno
import json
import logging
import re
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from segtool.errors import SegtoolError, reason_of
from segtool.files import nan_to_none
from segtool.stopping import NOTHING_KEPT, begin, end, handle_signals, was_stopped
from segtool.text import HOSTILE

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA_VERSION = 1
EXIT_PARTLY = 3

_ARGUMENTS = "segtool.arguments"
_SHOWN_ONLY, _VERBOSITY = ("--verbose", "--quiet", "--debug", "--json"), re.compile("-[vq]+")
WHOLE_FILES_KEPT = "the finished files are kept, each of them complete"


class Command(click.Command):
    """A command that reports a `SegtoolError` or a Ctrl-C as one sentence on stderr, with its exit code.

    It adds ``-v``, ``-q`` and ``--debug`` to the options of each command. `kept` describes what remains after a stop.
    """

    def __init__(self, *args: Any, kept: str = NOTHING_KEPT, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._kept = kept
        self.params.extend(
            [
                click.Option(["-v", "--verbose"], is_flag=True, help="Print more messages on stderr."),
                click.Option(["-q", "--quiet"], is_flag=True, help="Print only warnings and errors on stderr."),
                click.Option(["--debug"], is_flag=True, help="Print the traceback of an error."),
            ]
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments and keep them for `arguments_as_given`."""
        ctx.meta[_ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command: set up logging, and turn errors into exit codes."""
        verbose, quiet, debug = (ctx.params.pop(name) for name in ("verbose", "quiet", "debug"))
        if verbose and quiet:
            raise click.UsageError("-v and -q exclude each other.")
        ctx.obj = {"quiet": quiet, "verbose": verbose}
        begun = time.time()
        with _warnings_as_log(verbose=verbose):
            return self._run(ctx, begun, debug=debug)

    def _run(self, ctx: click.Context, begun: float, *, debug: bool) -> Any:
        handle_signals()
        try:
            begin()
            result = super().invoke(ctx)
        except BaseException as error:
            end()
            self._end(ctx, error, begun=begun, debug=debug)
            raise
        end()
        return result

    def _end(self, ctx: click.Context, error: BaseException, *, begun: float, debug: bool) -> None:
        """Exit with the message and the exit code of an error; return if the error is not one of segtool."""
        if isinstance(error, click.exceptions.Exit | click.ClickException):
            return
        if was_stopped() or isinstance(error, KeyboardInterrupt):  # some libraries turn a Ctrl-C into an ImportError
            written = _written_since(begun, ctx.params.values())
            _stop(ctx, f"{' and '.join(written)} was written" if written else self._kept)
        if isinstance(error, SegtoolError):
            _fail(ctx, str(error), error.exit_code, debug=debug)
        # If the reader of our output has closed the pipe (EPIPE), click exits silently.
        if isinstance(error, OSError) and error.errno != errno.EPIPE:
            _fail(ctx, _refused_by_system(error), SegtoolError.exit_code, debug=debug)


def _fail(ctx: click.Context, message: str, code: int, *, debug: bool) -> NoReturn:
    if debug:
        error_console().print_exception()
    error_console().print(f"Error: {printable(message, lines=False)}", style="red", markup=False, soft_wrap=True)
    ctx.exit(code)


def _stop(ctx: click.Context, kept: str) -> NoReturn:
    known = (ctx.obj or {}).get("stopped")
    message = known() if known else f"Stopped: `{ctx.command_path}` did not finish; {kept}."
    error_console().print(printable(message, lines=False), style="red", markup=False, soft_wrap=True)
    ctx.exit(SegtoolError.exit_code)


def say_when_stopped(message: Callable[[], str]) -> None:
    """Set the message that the current command prints if a signal stops it from now on."""
    click.get_current_context().obj["stopped"] = message


def _written_since(begun: float, values: Iterable[object]) -> list[str]:
    """Return the arguments of a command that are files written after its start."""
    files = [value for value in values if isinstance(value, Path) and value.is_file()]
    # The clock of files is behind `time.time` by up to a tick of the kernel.
    return [str(file) for file in files if file.stat().st_mtime >= begun - 0.02]


def _refused_by_system(error: OSError) -> str:
    """Return the message for an unexpected system error, such as a name that is too long or an unreadable folder."""
    where = f" to {error.filename}" if error.filename else ""
    return f"The operating system refused access{where} ({reason_of(error)}); check the path and its permissions."


class Group(click.Group):
    """A group whose commands are `Command`s, listed in the order in which they were added."""

    command_class = Command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the named command; print one line if a second signal arrives while the first is handled."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            end()
            _stop(ctx, NOTHING_KEPT)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the commands in the order of the pipeline: train, export, predict, ..."""
        return list(self.commands)


@cache
def error_console() -> Console:
    """Return the console of stderr; rich is imported at the first use, possibly while a model is opened."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, emoji=False)


def is_quiet() -> bool:
    """Return whether the current command was called with -q."""
    context = click.get_current_context(silent=True)
    return bool(context and (context.obj or {}).get("quiet"))


def is_verbose() -> bool:
    """Return whether the current command was called with -v."""
    return bool((click.get_current_context().obj or {}).get("verbose"))


def arguments_as_given() -> tuple[str, ...]:
    """Return the arguments of the current command, without the options that only change what is printed."""
    given: tuple[str, ...] = click.get_current_context().meta[_ARGUMENTS]
    options = given[: given.index("--")] if "--" in given else given
    kept = [item for item in options if item not in _SHOWN_ONLY and not _VERBOSITY.fullmatch(item)]
    return (*kept, *given[len(options) :])


def say(message: str) -> None:
    """Print a message on stderr, unless -q was given."""
    if not is_quiet():
        error_console().print(printable(message), markup=False, soft_wrap=True)


def emit_json(command: str, payload: Mapping[str, Any]) -> None:
    """Print the result of a command as one JSON object on stdout; NaN becomes null."""
    click.echo(json.dumps(nan_to_none({"schema_version": SCHEMA_VERSION, "command": command, **payload}), indent=2))


def printable(text: str, *, lines: bool = True) -> str:
    r"""Return a text without control codes for the terminal: names may come from untrusted files.

    What `segtool.text.clean` removes is written as escapes such as \\x1b; a byte of a name that is not UTF-8 as \\xe9.
    So are line breaks, unless `lines`.
    """
    shown = HOSTILE.sub(lambda found: _escaped(found[0]), text)
    return shown if lines else shown.replace("\n", "\\n").replace("\t", "\\t")


def _escaped(item: str) -> str:
    """Return a character as an escape; Python reads a byte that is not UTF-8 as a surrogate of U+DC80..U+DCFF."""
    return f"\\x{ord(item) - 0xDC00:x}" if "\udc80" <= item <= "\udcff" else ascii(item)[1:-1]


class _LogHandler(logging.Handler):
    """Prints each log message on stderr as one line, as `say` does, so that a command in it can be copied."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message."""
        style = "red" if record.levelno >= logging.ERROR else "yellow" if record.levelno >= logging.WARNING else ""
        text = f"{record.levelname.capitalize()}: {printable(record.getMessage(), lines=False)}"
        error_console().print(text, style=style, markup=False, soft_wrap=True)


@contextmanager
def _warnings_as_log(*, verbose: bool) -> Iterator[None]:
    """Set up logging, and log the warnings of libraries as details, because they concern the libraries' own calls.

    Python would print them with a local path and a line of code. `-v` shows the message only.
    """
    _set_up_logging(verbose=verbose)

    def show(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        logging.getLogger("segtool.libraries").info("%s: %s", category.__name__, message)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _set_up_logging(*, verbose: bool) -> None:
    logger = logging.getLogger("segtool")
    logger.setLevel(logging.DEBUG if verbose else logging.WARNING)
    logger.handlers = [_LogHandler()]
    logger.propagate = False
    # Its warnings concern its own calls and contain local paths.
    logging.getLogger("tensorflow").setLevel(logging.WARNING if verbose else logging.ERROR)
