"""A finding: what one check says of one subject of a source, and how sure the episodes make it.

Episodes vote, not frames, since the frames of one episode say the same thing many times. The confidence is the lower
95 % bound (Wilson, one-sided) on the share of episodes that say so, of all that could tell; a check speaks only above
one half, which takes three episodes of one mind, or more where some disagree. Below, it is "unsure" and stops nothing.
What is only worth noticing stops nothing either: it needs no more than most of three episodes.
"""
# Legend: E episodes.

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Literal

Status = Literal["agrees", "contradicts", "noticed", "unsure"]
"""Only "contradicts" stops a source; "noticed" is odd but against nothing that the table claims."""

AGREES, UNDECIDED, AGAINST = 1, 0, -1
"""An episode's vote."""
_Z = 1.645
_SPEAKS_ABOVE = 0.5
_FEWEST = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What a check found about one signal, part or camera of a source."""

    check: str
    subject: str
    status: Status
    confidence: float
    """0 to 1; 0 where it is unsure."""
    episodes: int
    """How many episodes could tell."""
    against: int
    """How many of these speak against the table."""
    measured: float | None
    """The check's statistic over the episodes that could tell, in the unit that the message states."""
    message: str


def lower_bound(count: int, total: int) -> float:
    """The share that `count` of `total` proves at 95 %: 0 for none, 3 of 3 → 0.53, 30 of 30 → 0.92."""
    if count == 0:
        return 0.0
    share, z2 = count / total, _Z**2
    middle = share + z2 / (2 * total)
    spread = _Z * sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    return max(0.0, (middle - spread) / (1 + z2 / total))


def counted(
    votes_E: Sequence[int],
    *,
    check: str,
    subject: str,
    measured: float | None,
    agrees: str,
    contradicts: str,
    unsure: str,
    severity: Status = "contradicts",
) -> Finding:
    """The finding that the votes make, with the message that belongs to it.

    `severity` is what enough votes against amount to.
    """
    against, told = votes_E.count(AGAINST), len(votes_E) - votes_E.count(UNDECIDED)
    sure_against, sure_for = lower_bound(against, told), lower_bound(told - against, told)
    status: Status = "unsure"
    confidence, message = 0.0, f"{unsure} ({told} of {len(votes_E)} episodes could tell, {against} against)"
    is_most = severity == "noticed" and told >= _FEWEST and 2 * against > told
    if sure_against > _SPEAKS_ABOVE or is_most:
        status, confidence, message = severity, sure_against, f"{contradicts} ({against} of {told} episodes)"
    elif sure_for > _SPEAKS_ABOVE:
        status, confidence, message = "agrees", sure_for, f"{agrees} ({told - against} of {told} episodes)"
    return Finding(
        check=check,
        subject=subject,
        status=status,
        confidence=confidence,
        episodes=told,
        against=against,
        measured=measured,
        message=message,
    )
