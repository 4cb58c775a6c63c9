"""Whether sources may be normalized together: another zero, sign or unit would ruin each other's statistics.

A lock asks this of all frames that are trained on, a plan (`curation.pooled`) of what the catalogue keeps.
"""
# Legend: R runs, D dimensions.

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from curation.signals import Group, Values
from schema.embodiment import Dimension
from schema.errors import ConfigError

_FACTOR = 10.0
"""Between spreads of the same quantity in the same unit; degrees and radians are 57 apart."""
_STILL = 1e-5
_MAX_TOLD = 4


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Moments:
    """What was measured of each run."""

    count_RD: Values
    sum_RD: Values
    min_RD: Values
    max_RD: Values
    square_RD: Values
    """Sums of squared distances from the group's mean."""

    @classmethod
    def of(cls, bounds_R4D: Values, square_RD: Values) -> Self:
        """From [count, sum, least, largest] of each run, and its squares."""
        count_RD, sum_RD, min_RD, max_RD = bounds_R4D.swapaxes(0, 1)
        return cls(count_RD=count_RD, sum_RD=sum_RD, min_RD=min_RD, max_RD=max_RD, square_RD=square_RD)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Source:
    """What the numbers of one source are like."""

    name: str
    frames: float
    std_D: Values
    min_D: Values
    max_D: Values

    def told(self, d: int) -> str:
        """A dimension in words."""
        return f"{self.min_D[d]:.3g} … {self.max_D[d]:.3g} (std {self.std_D[d]:.2g}) in {self.name!r}"


def require_agreement(group: Group, moments: Moments) -> None:
    """ConfigError where a source's range is apart from the largest source's, or its spread more than ten times off."""
    told = list(disagreements((*group.state, *group.action), _sources(group, moments)))
    if told:
        raise ConfigError(complaint(group.key, told))


def complaint(key: str, told: Sequence[str]) -> str:
    """What a person should know and do where the sources of one key of statistics disagree."""
    more = f"; and {len(told) - _MAX_TOLD} more" if len(told) > _MAX_TOLD else ""
    return (
        f"sources do not agree on what the statistics {key!r} pool: {'; '.join(told[:_MAX_TOLD])}{more}. "
        f"Expected ranges that overlap and spreads within a factor of {_FACTOR:g}: mend the source's conventions "
        "and ingest it again, or set `statistics: by_source`; `statistics: pooled` takes them together all the same"
    )


def disagreements(dimensions: Sequence[Dimension], sources: Iterable[Source]) -> Iterator[str]:
    """One text for each dimension and source that does not agree with the largest one; grippers are left out."""
    largest, *others = sorted(sources, key=lambda one: (-one.frames, one.name))
    for d, dimension in enumerate(dimensions):
        if dimension.is_gripper:
            continue
        for one in others:
            is_apart = one.max_D[d] < largest.min_D[d] or largest.max_D[d] < one.min_D[d]
            low, high = sorted((one.std_D[d], largest.std_D[d]))
            if is_apart or (low > _STILL and high > _FACTOR * low):
                yield f"{dimension.name} is {one.told(d)}, {largest.told(d)}"


def _sources(group: Group, moments: Moments) -> Iterator[Source]:
    name_R = np.array([source_of(run.shard) for run in group.runs])
    mean_D = moments.sum_RD.sum(axis=0) / moments.count_RD.sum(axis=0)
    for name in np.unique(name_R).tolist():
        mine_R = name_R == name
        count_D = moments.count_RD[mine_R].sum(axis=0)
        own_D = moments.sum_RD[mine_R].sum(axis=0) / count_D
        variance_D = moments.square_RD[mine_R].sum(axis=0) / count_D - (own_D - mean_D) ** 2
        yield Source(
            name=name,
            frames=count_D[0],
            std_D=np.sqrt(np.maximum(variance_D, 0)),
            min_D=moments.min_RD[mine_R].min(axis=0),
            max_D=moments.max_RD[mine_R].max(axis=0),
        )


def source_of(shard: str) -> str:
    """The source to which a shard belongs: `shards/<source>/<digest>`."""
    return shard.split("/")[1]
