"""Mutations of a file's bytes: what disks, networks, interrupted copies and careless hands do to logs.

Half of the damage falls anywhere, the rest near the ends of the file, where containers keep what they say of
themselves.
"""

import re
from collections.abc import Callable

import numpy as np

_ENDS = 512
_SIZES = (0, 1, -1, 127, 128, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, -(2**63))
_WORDS = (
    b"0",
    b"-1",
    b"2",
    b"99999999999",
    b"1e999",
    b"-0.5",
    b"NaN",
    b"null",
    b"true",
    b'""',
    b"[]",
    b"{}",
    b'"\\ud800"',
)
"""What may come to stand where a text had a number."""


def mutate(content: bytes, random: np.random.Generator) -> bytes:
    """The content, damaged in one of a few ways; the same generator gives the same damage."""
    kinds: tuple[Callable[[bytes, np.random.Generator], bytes], ...] = (
        _flip_bits,
        _flip_bits,
        _cut_off,
        _overwrite,
        _take_out,
        _put_in,
        _write_a_size,
        _write_a_word,
    )
    return kinds[random.integers(len(kinds))](content, random)


def _place(content: bytes, random: np.random.Generator) -> int:
    size, where = len(content), random.integers(4)
    if where < 2 or size <= 2 * _ENDS:
        return int(random.integers(size + 1))
    near = int(random.integers(_ENDS))
    return near if where == 2 else size - near


def _noise(random: np.random.Generator) -> bytes:
    length = int(random.integers(1, 64))
    return (random.bytes(length), b"\xff" * length, b"\0" * length)[random.integers(3)]


def _flip_bits(content: bytes, random: np.random.Generator) -> bytes:
    damaged = bytearray(content)
    for _ in range(random.integers(1, 9) if content else 0):
        damaged[min(_place(content, random), len(content) - 1)] ^= 1 << int(random.integers(8))
    return bytes(damaged)


def _cut_off(content: bytes, random: np.random.Generator) -> bytes:
    return content[: _place(content, random)]


def _overwrite(content: bytes, random: np.random.Generator) -> bytes:
    place, noise = _place(content, random), _noise(random)
    return content[:place] + noise + content[place + len(noise) :]


def _take_out(content: bytes, random: np.random.Generator) -> bytes:
    place = _place(content, random)
    return content[:place] + content[place + len(_noise(random)) :]


def _put_in(content: bytes, random: np.random.Generator) -> bytes:
    place = _place(content, random)
    return content[:place] + _noise(random) + content[place:]


def _write_a_size(content: bytes, random: np.random.Generator) -> bytes:
    """A count or offset of one to eight bytes that is as large, or as small, as it can be."""
    width = int(2 ** random.integers(4))
    size = _SIZES[random.integers(len(_SIZES))] % 2 ** (8 * width)
    place = _place(content, random) // width * width
    return content[:place] + size.to_bytes(width, ("little", "big")[random.integers(2)]) + content[place + width :]


def _write_a_word(content: bytes, random: np.random.Generator) -> bytes:
    """Something else where digits stand."""
    found = list(re.finditer(rb"-?\d+(?:\.\d+)?", content[: 1 << 20]))
    if not found:
        return _overwrite(content, random)
    chosen = found[random.integers(len(found))]
    return content[: chosen.start()] + _WORDS[random.integers(len(_WORDS))] + content[chosen.end() :]
