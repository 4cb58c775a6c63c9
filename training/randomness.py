"""Randomness that is a pure function of (seed, position, purpose): the same on any rank, at any resume.

Counter-based: each number is a hash of its key and its place in the sample, so that a sample's noise does not depend
on the batch that it stands in. The purposes below are those of training; 1–4 are the order's and 11 the loader's.
"""
# Legend: B samples, N numbers of a sample.

import numpy as np
from numpy.typing import NDArray

from curation.feistel import key

NOISE, TIME, SAMPLING = 21, 22, 23
"""Purposes: the noise and the time of flow matching, and the noise that sampled chunks start from."""

_UNIT = 1.0 / (1 << 53)


def uniform(seed: int, position_B: NDArray[np.int64], *, purpose: int, numbers: int) -> NDArray[np.float64]:
    """`[B, N]` independent numbers in (0, 1)."""
    bits_BN = key(key(seed, purpose, position_B)[:, None], np.arange(numbers, dtype=np.int64)[None, :])
    return ((bits_BN >> np.uint64(11)).astype(np.float64) + 0.5) * _UNIT


def stratified(seed: int, position_B: NDArray[np.int64], *, purpose: int, numbers: int) -> NDArray[np.float64]:
    """`[B, N]` numbers in (0, 1), one in each of N equal parts: uniform as a whole, and of less variance in a mean."""
    return (np.arange(numbers) + uniform(seed, position_B, purpose=purpose, numbers=numbers)) / numbers


def normal(seed: int, position_B: NDArray[np.int64], *, purpose: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """`[B, *shape]` independent standard normal numbers (Box and Muller, 1958)."""
    count = int(np.prod(shape))
    half = -(-count // 2)
    uniform_BN = uniform(seed, position_B, purpose=purpose, numbers=2 * half)
    radius_BN, angle_BN = np.sqrt(-2.0 * np.log(uniform_BN[:, :half])), 2.0 * np.pi * uniform_BN[:, half:]
    both_BN = np.concatenate([radius_BN * np.cos(angle_BN), radius_BN * np.sin(angle_BN)], axis=1)
    return both_BN[:, :count].reshape(len(position_B), *shape).astype(np.float32)
