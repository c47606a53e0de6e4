"""The entry point of `python -m segtool` and of the script `segtool`."""

from __future__ import annotations

from segtool.stopping import handle_signals

# isort: split
import gc
import sys


def run() -> None:
    """Run the command line, and end the process."""
    handle_signals(starting=True)
    from segtool.cli import main

    try:
        main(prog_name="segtool")
    finally:
        if "segtool.cli.predict" in sys.modules:
            # The process ends: a garbage collection of all modules would take a tenth of the time of one image.
            gc.freeze()


if __name__ == "__main__":
    run()
