"""Which of an episode's instructions a sample reads: a pure function of the seed and the position."""

from collections.abc import Sequence

from curation.feistel import key

_INSTRUCTION = 11
"""The purpose, in keys of randomness, of choosing among several instructions."""


def chosen(texts: Sequence[str], *, seed: int, position: int) -> str:
    """One of the texts, of which there is at least one."""
    return texts[0] if len(texts) == 1 else texts[int(key(seed, position, _INSTRUCTION)) % len(texts)]
