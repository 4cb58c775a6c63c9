"""Text per frame becomes instructions with ranges."""

from collections.abc import Sequence
from itertools import groupby

from schema.episode import Instruction


def instruction_segments(texts: Sequence[str]) -> tuple[Instruction, ...]:
    """One instruction for each run of frames with the same text; blank runs give none, the last has no stop."""
    segments, start = [], 0
    for text, run in groupby(text.strip() for text in texts):
        stop = start + sum(1 for _ in run)
        if text:
            segments.append(Instruction(text=text, start=start, stop=None if stop == len(texts) else stop))
        start = stop
    return tuple(segments)
