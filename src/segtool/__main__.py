"""`python -m segtool` is the command line."""

from segtool.cli import main

main(prog_name="segtool")
