"""How often each component of a mixture is drawn: shares by size and boost, then integer quotas.

Quotas are exact: they sum to the block, and every block of positions holds each component exactly that often.
See `curation.schedule` for where in the block.
"""

# Legend: C components.
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from schema.errors import ConfigError, problems

BLOCK = 1 << 20
"""Positions per block: quotas are exact at every multiple of it."""


def weights(num_frames_C: ArrayLike, boost_C: ArrayLike, alpha: float) -> NDArray[np.float64]:
    """Share of each component, in [0, 1] and summing to 1: boost * num_frames**alpha, normalized.

    The π0 paper (arXiv:2410.24164, section V) weighs each robot and task by n**0.43, so that a large
    component is drawn more often than a small one but less than in proportion. `alpha` 0 draws all alike,
    1 in proportion to frames. A component without frames, or with boost 0, has share 0.

    Raises:
        ConfigError: nothing to weigh, a negative or non-finite number, or all shares are 0.
    """
    frames_C: NDArray[np.float64] = np.asarray(num_frames_C, np.float64)
    boosts_C: NDArray[np.float64] = np.asarray(boost_C, np.float64)
    if frames_C.ndim != 1 or frames_C.shape != boosts_C.shape:
        raise ConfigError(
            f"a mixture needs one frame count and one boost per component; "
            f"found shapes {frames_C.shape} and {boosts_C.shape}: pass two lists of the same length"
        )
    _check_weights(frames_C, boosts_C, alpha)
    raw_C: NDArray[np.float64] = np.zeros_like(frames_C)
    drawn_C = (frames_C > 0) & (boosts_C > 0)
    raw_C[drawn_C] = boosts_C[drawn_C] * frames_C[drawn_C] ** alpha
    total = raw_C.sum()
    if not 0 < total < np.inf:
        raise ConfigError(
            f"the weights of the mixture sum to {total}, so no share can be given: "
            f"at least one component needs frames and a boost above 0, and all weights must be finite"
        )
    raw_C /= total
    return raw_C


def bounded(shares_C: ArrayLike, *, floor: float, cap: float) -> NDArray[np.float64]:
    """Shares in proportion to the given ones, but none under the floor or over the cap; they sum to 1.

    What the cap takes goes to the others in proportion, and what the floor gives comes from them: the shares are
    `clip(level * share, floor, cap)` at the one level where they sum to 1. A share of 0 stays 0.

    Raises:
        ConfigError: no shares can keep to these bounds.
    """
    share_C: NDArray[np.float64] = np.asarray(shares_C, np.float64)
    drawn_C = share_C > 0
    error = problems(ConfigError, "the shares cannot be bounded:", bound_faults(int(drawn_C.sum()), floor, cap))
    if error:
        raise error
    some_C = share_C[drawn_C]

    def total(level: float) -> float:
        return float(np.clip(level * some_C, floor, cap).sum())

    # The sum grows with the level, in straight lines between the levels at which a share meets a bound.
    knees = np.unique(np.concatenate([[0.0], floor / some_C, cap / some_C]))
    low, high = 0, len(knees) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if total(knees[middle]) <= 1 else (low, middle)
    below, above = total(knees[low]), total(knees[high])
    part = (1 - below) / (above - below) if above > below else 0.0
    bounded_C = np.zeros_like(share_C)
    bounded_C[drawn_C] = np.clip((knees[low] + part * (knees[high] - knees[low])) * some_C, floor, cap)
    bounded_C /= bounded_C.sum()
    return bounded_C


def bound_faults(count: int, floor: float, cap: float) -> list[str]:
    """Why so many shares cannot all lie between the floor and the cap and sum to 1; empty where they can."""
    found = []
    if floor > cap:
        found.append(f"floor {floor:g} is above cap {cap:g}: lower the one or raise the other")
    if floor * count > 1 + 1e-12:
        found.append(
            f"floor {floor:g} for {count} components is more than all there is: expected at most {1 / count:g}"
        )
    if cap * count < 1 - 1e-12:
        found.append(f"cap {cap:g} for {count} components leaves draws to nobody: expected at least {1 / count:g}")
    return found


def _check_weights(frames_C: NDArray[np.float64], boosts_C: NDArray[np.float64], alpha: float) -> None:
    """Raise one ConfigError that lists every number no weight can be made of."""
    lines = []
    if frames_C.size == 0:
        lines.append("it has no components: at least one source has to match")
    if not np.isfinite(alpha) or alpha < 0:
        lines.append(f"alpha is {alpha!r}; expected a finite number >= 0, such as 0.43")
    for what, value_C in (("num_frames", frames_C), ("boost", boosts_C)):
        wrong_C = ~(np.isfinite(value_C) & (value_C >= 0))
        lines += [
            f"{what} of component {c} is {value_C[c]}; expected a finite number >= 0" for c in np.flatnonzero(wrong_C)
        ]
    error = problems(ConfigError, "the mixture cannot be weighed:", lines)
    if error:
        raise error


def quotas(shares_C: ArrayLike, names: Sequence[str], *, block: int = BLOCK) -> NDArray[np.int64]:
    """Draws of each component per block, each within 1 of `share * block`, by largest remainder.

    They sum to `block` exactly. Only the proportions of the shares count. Equal remainders are settled in the
    order given. `names` has one name per component, for the message.

    Raises:
        ConfigError: a share is negative or not finite, or a component would never be drawn.
    """
    share_C: NDArray[np.float64] = np.asarray(shares_C, np.float64)
    if share_C.ndim != 1 or share_C.size != len(names):
        raise ConfigError(f"found {share_C.size} shares for {len(names)} names; expected one share per name")
    if share_C.size == 0 or not np.isfinite(share_C).all() or (share_C < 0).any() or share_C.sum() <= 0:
        raise ConfigError(
            f"shares must be finite, >= 0 and not all 0; found {share_C.tolist()!r}: take them from weights()"
        )
    share_C = share_C / share_C.sum()
    exact_C = share_C * block
    quota_C: NDArray[np.int64] = np.floor(exact_C).astype(np.int64)
    missing = block - int(quota_C.sum())
    first_C = np.argsort(quota_C - exact_C, kind="stable")
    quota_C[first_C[:missing]] += 1
    never = [f"{names[c]!r} (share {share_C[c]:.3g})" for c in np.flatnonzero(quota_C == 0).tolist()]
    if never:
        raise ConfigError(
            f"components that would get 0 of every {block:,} draws: {', '.join(never)}; expected at least 1: "
            f"raise their boost or floor, pool them with another component, or leave them out of the recipe"
        )
    return quota_C
