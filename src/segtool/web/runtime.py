"""The files of onnxruntime-web that the page needs, found where npm installed them."""

from __future__ import annotations

import re
from pathlib import Path

from segtool.errors import MissingExtraError

VERSION = "1.30.0"
"""The version of onnxruntime-web that the page was tested with."""

INSTALL = f"npm install onnxruntime-web@{VERSION}"

# By the name in the page. Web servers know the type of .js, but not all of them that of .mjs, and a browser refuses a
# module of another type. The build for WebAssembly alone has SIMD and threads; it needs no network and no other file.
_FILES = {
    "ort.wasm.min.js": "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.js": "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm": "ort-wasm-simd-threaded.wasm",
}
_STATED_VERSION = re.compile(rb"ONNX Runtime Web v([\w.+-]+)")
_HEAD_BYTES = 1000
_WASM_HEADER = 8  # a magic number and a version; sections follow, each with its number and its length
_WITHIN = (".", "dist", "onnxruntime-web/dist", "node_modules/onnxruntime-web/dist")


def runtime_files(path: Path | None = None) -> dict[str, Path]:
    """Return the files of onnxruntime-web, by their names in the page.

    Parameters
    ----------
    path
        The package onnxruntime-web, its folder dist, node_modules, or the folder that contains node_modules; None for
        the current folder.

    Raises
    ------
    MissingExtraError
        The package or one of its files is missing, or has another version.
    """
    start = path or Path()
    dist = next((start / name for name in _WITHIN if (start / name / "ort.wasm.min.mjs").is_file()), None)
    if dist is None:
        where = f"in {path}" if path else "in node_modules of this folder"
        raise MissingExtraError(
            f"The page needs the npm package onnxruntime-web, which is not {where}; run `{INSTALL}`, or pass its "
            "folder with --runtime."
        )
    found = {name: dist / original for name, original in _FILES.items()}
    for file in found.values():
        if not file.is_file():
            raise MissingExtraError(f"{dist} has no {file.name}, so the package is not complete; run `{INSTALL}`.")
    _check_version(found["ort.wasm.min.js"])
    _check_whole(found["ort-wasm-simd-threaded.wasm"])
    return found


def _check_version(file: Path) -> None:
    """Refuse another version than the tested one; the file states its version in its first lines."""
    with file.open("rb") as stream:
        stated = _STATED_VERSION.search(stream.read(_HEAD_BYTES))
    version = stated[1].decode() if stated else "unknown"
    if version != VERSION:
        raise MissingExtraError(
            f"{file.parent} has onnxruntime-web {version}, expected {VERSION}, with which the page is tested; run "
            f"`{INSTALL}`."
        )


def _check_whole(file: Path) -> None:
    """Refuse a WebAssembly file that was cut: its sections end where the file does."""
    data = file.read_bytes()
    at = _WASM_HEADER
    while at + 1 < len(data):
        length, begin = _number(data, at + 1)
        at = begin + length
    if not data.startswith(b"\0asm") or at == _WASM_HEADER or at != len(data):
        raise MissingExtraError(f"{file} is damaged: it is not a whole WebAssembly file; run `{INSTALL}`.")


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of WebAssembly and where it ends: seven bits a byte, the lowest first (LEB128)."""
    value = shift = 0
    while at < len(data):
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            break
    return value, at
