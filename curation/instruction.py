"""Which of an episode's instructions a sample reads: a pure function of the seed and the position."""

from collections.abc import Sequence

from curation.feistel import fraction, key

_INSTRUCTION, _DROPOUT = 11, 14
"""The purposes, in keys of randomness, of choosing among several instructions, and of leaving them away."""


def chosen(texts: Sequence[str], *, seed: int, position: int, dropout: float = 0.0) -> str:
    """One of the texts, of which there is at least one; or none (an empty text), as often as `dropout` says."""
    if dropout and fraction(seed, position, _DROPOUT) < dropout:
        return ""
    return texts[0] if len(texts) == 1 else texts[int(key(seed, position, _INSTRUCTION)) % len(texts)]
