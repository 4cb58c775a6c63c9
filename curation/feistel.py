"""Keyed permutations of [0, size) that need no memory, and the 64-bit keys that name them.

`permute` is a bijection of [0, size) for every key, `invert` undoes it. Size and key may differ per element,
so one call serves thousands of small permutations. Everything here is integer arithmetic: the same numbers
on every machine. The values are pinned by tests, since every lock's order follows from them.
"""

# Legend: P elements, U the elements still outside their domain.
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAX_SIZE = 1 << 40
"""Sizes are below this, so that each half of a number has at most 20 bits."""

_Words = NDArray[np.uint64]
_U64 = np.uint64
_GOLDEN = _U64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = _U64(0xBF58476D1CE4E5B9), _U64(0x94D049BB133111EB)
# One odd multiplier per round, by which rounds under one key differ (xxHash64's primes, MurmurHash3's and
# PCG's constants). Four rounds make a large domain pseudorandom (Luby and Rackoff 1988); smaller ones mix
# slower, and eight are what chi-square tests stop objecting to above 64.
_ROUNDS = tuple(
    _U64(odd)
    for odd in (
        0x9E3779B185EBCA87,
        0xC2B2AE3D27D4EB4F,
        0x165667B19E3779F9,
        0x85EBCA77C2B2AE63,
        0x27D4EB2F165667C5,
        0xFF51AFD7ED558CCD,
        0xC4CEB9FE1A85EC53,
        0x5851F42D4C957F2D,
    )
)
_AGAIN = (64, 8)
"""Sizes up to the first are permuted twice, up to the second three times: halves of 1 to 3 bits mix slowly."""


def key(seed: int | _Words, *parts: ArrayLike) -> _Words:
    """64-bit keys, one per element of the broadcast parts, that depend on the seed and every part in turn.

    `seed` is any integer (taken modulo 2**64) or keys made before; parts are integers. For each part the
    state is stepped and finalized as in splitmix64 (Steele, Lea and Flood 2014).
    """
    state = np.asarray(seed % 2**64 if isinstance(seed, int) else seed, _U64)
    with np.errstate(over="ignore"):  # scalars wrap as arrays do, but warn
        for part in parts:
            state = _mix((state + _GOLDEN) ^ np.asarray(part).astype(_U64))
    return np.asarray(state)


def fraction(seed: int, *parts: int) -> float:
    """A number in [0, 1) that is these parts' own under the seed."""
    return int(key(seed, *parts) >> _U64(11)) / 2**53


def _mix(state: _Words) -> _Words:
    """Finalizer of splitmix64: every bit of the result depends on every bit of the state."""
    state = (state ^ (state >> _U64(30))) * _MIX_1
    state = (state ^ (state >> _U64(27))) * _MIX_2
    return state ^ (state >> _U64(31))


def permute(index: ArrayLike, size: ArrayLike, key: ArrayLike) -> NDArray[np.int64]:
    """Where each index in [0, size) goes under the key's permutation of [0, size); same shape, same range.

    `size` and `key` broadcast against `index`; `size` is in [1, 2**40) and is not checked, nor is `index`.
    """
    index_P, size_P, key_P, shape = _flat(index, size, key)
    number_P = _walk(index_P, size_P, key_P, backwards=False)
    for turn in range(len(_AGAIN)):
        _walk_small(number_P, size_P, key_P, turn=turn, backwards=False)
    return number_P.view(np.int64).reshape(shape)


def invert(index: ArrayLike, size: ArrayLike, key: ArrayLike) -> NDArray[np.int64]:
    """The index that `permute` sends to each given one: `invert(permute(i, n, k), n, k) == i`."""
    index_P, size_P, key_P, shape = _flat(index, size, key)
    number_P = index_P.copy()
    for turn in reversed(range(len(_AGAIN))):
        _walk_small(number_P, size_P, key_P, turn=turn, backwards=True)
    return _walk(number_P, size_P, key_P, backwards=True).view(np.int64).reshape(shape)


def _flat(index: ArrayLike, size: ArrayLike, key: ArrayLike) -> tuple[_Words, _Words, _Words, tuple[int, ...]]:
    """The three arguments broadcast to one shape, each as a flat array of unsigned words, and that shape."""
    arrays = np.broadcast_arrays(np.asarray(index, np.int64), np.asarray(size, np.int64), np.asarray(key, np.uint64))
    index_P, size_P, key_P = (array.reshape(-1).view(np.uint64) for array in arrays)
    return index_P, size_P, key_P, arrays[0].shape


def _walk_small(number_P: _Words, size_P: _Words, key_P: _Words, *, turn: int, backwards: bool) -> None:
    """Permute once more, in place and under a stepped key, the numbers whose size is small enough for this turn."""
    small_U = np.flatnonzero(size_P <= _U64(_AGAIN[turn]))
    if small_U.size:
        key_U = _mix(key_P[small_U] + _U64(turn + 1))
        number_P[small_U] = _walk(number_P[small_U], size_P[small_U], key_U, backwards=backwards)


class _Domain(NamedTuple):
    """What one pass of the network needs besides the number: the key and how its bits are split."""

    key: _Words
    low_bits: _Words
    low_mask: _Words
    high_mask: _Words


def _walk(number_P: _Words, size_P: _Words, key_P: _Words, *, backwards: bool) -> _Words:
    """Permute the next power of two over and over until the number falls inside its domain (cycle walking)."""
    domain = _domain(size_P, key_P)
    number_P = _pass(number_P, domain, backwards=backwards)
    outside_U = np.flatnonzero(number_P >= size_P)
    number_U, size_U = number_P[outside_U], size_P[outside_U]
    domain = _Domain(*(column_P[outside_U] for column_P in domain))
    while outside_U.size:
        number_U = _pass(number_U, domain, backwards=backwards)
        number_P[outside_U] = number_U
        still = np.flatnonzero(number_U >= size_U)
        outside_U, number_U, size_U = outside_U[still], number_U[still], size_U[still]
        domain = _Domain(*(column_U[still] for column_U in domain))
    return number_P


def _domain(size_P: _Words, key_P: _Words) -> _Domain:
    """Split the bits that numbers below each size need into a high and a low half, the low one not smaller."""
    largest_P = (size_P - _U64(1)).astype(np.float64)
    bits_P = np.maximum((largest_P.view(np.int64) >> 52) - 1022, 0).view(_U64)  # exponent = bit length
    high_bits_P = bits_P >> _U64(1)
    low_bits_P = bits_P - high_bits_P
    one = _U64(1)
    return _Domain(key_P, low_bits_P, (one << low_bits_P) - one, (one << high_bits_P) - one)


def _pass(number_P: _Words, domain: _Domain, *, backwards: bool) -> _Words:
    """Run every round once over each number: the halves take turns, each XORed with a hash of the other."""
    high_P, low_P = number_P >> domain.low_bits, number_P & domain.low_mask
    hash_P, shifted_P = np.empty_like(high_P), np.empty_like(high_P)
    halves = ((high_P, domain.high_mask, low_P), (low_P, domain.low_mask, high_P))
    turns = range(len(_ROUNDS))
    for turn in reversed(turns) if backwards else turns:
        changed_P, mask_P, other_P = halves[turn % 2]
        np.add(other_P, domain.key, out=hash_P)
        hash_P *= _ROUNDS[turn]
        np.right_shift(hash_P, _U64(32), out=shifted_P)
        hash_P ^= shifted_P
        hash_P *= _MIX_2
        hash_P >>= _U64(40)
        hash_P &= mask_P
        np.bitwise_xor(changed_P, hash_P, out=changed_P)
    return (high_P << domain.low_bits) | low_P
