"""Iterate over the fields of a protobuf message without decoding it: bounded work, no copies.

An ONNX file is a protobuf message. Its check before onnxruntime opens it needs neither the package onnx nor protobuf:
tags are read, and the bytes of tensors are skipped by their length.
(https://protobuf.dev/programming-guides/encoding/)
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator

Field = tuple[int, int, int]
"""Number, start and stop of a length-delimited field. For a number, start is -1 and stop is the number."""

MAX_FIELDS = 2_000_000
"""Maximum number of fields read from one file; a network of ten thousand nodes has about a hundred thousand."""

_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_FIXED = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}


class Message:
    """The bytes of a message, and the number of fields that may still be read.

    Parameters
    ----------
    data
        The whole file. At most `MAX_FIELDS` fields are read, so that the time is bounded.
    """

    def __init__(self, data: bytes | mmap.mmap) -> None:
        self.data = data
        self._left = MAX_FIELDS

    def fields(self, start: int, stop: int) -> Iterator[Field]:
        """Yield the fields of the message in data[start:stop], without fixed-size numbers, which no caller needs.

        Raises
        ------
        ValueError
            The bytes are not a message (a length beyond the end, a kind of field that ONNX does not have, ...), or
            have more than `MAX_FIELDS` fields.
        """
        at = start
        while at < stop:
            self._left -= 1
            if self._left < 0:
                raise ValueError("it has too many fields")
            tag, at = self._varint(at, stop)
            number, kind = tag >> 3, tag & 7
            if not number:
                raise ValueError(f"a field at byte {at} has the number 0")
            if kind == _VARINT:
                value, at = self._varint(at, stop)
                yield number, -1, value
                continue
            size = _FIXED.get(kind, 0)
            if kind == _LENGTH:
                size, at = self._varint(at, stop)
            elif not size:
                raise ValueError(f"a field before byte {at} has the unknown kind {kind}")
            if size > stop - at:
                raise ValueError(f"a field at byte {at} ends after its message")
            if kind == _LENGTH:
                yield number, at, at + size
            at += size

    def _varint(self, at: int, stop: int) -> tuple[int, int]:
        """Return a number of 1 to 10 bytes and its end."""
        value = shift = 0
        while at < stop and shift < 70:
            byte = self.data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
            shift += 7
        raise ValueError(f"a number before byte {at} has no end")
