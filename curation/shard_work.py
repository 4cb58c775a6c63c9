"""The same question asked of every run of frames, mapped over the shards by Dask: on threads, or on Ray.

A question keeps a small answer per run, and adds counts to a tally; answers are sorted by run and counts are integers,
so nothing depends on how the work was split.
"""
# Legend: D dimensions (state first, then action), N values, K bins.

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby, pairwise
from typing import Any, Protocol, cast

import dask.base
import numpy as np
from dask.delayed import delayed
from numpy.typing import NDArray

from curation.histogram import BINS
from curation.signals import Group, Run, Values, counted_actions, open_shard, read_run
from schema.lake import Lake

Pieces = Iterable[tuple[slice, Values, NDArray[np.int64]]]
"""The values of a run, piece by piece: (which of the D dimensions, values [N, …], how often each counts [N])."""
Tally = dict[tuple[int, ...], NDArray[np.int64]]
"""Counts [K] by what they count."""
_Found = tuple[list[tuple[tuple[int, int], NDArray[np.float64]]], Tally]
"""Answers, each with the number of its group and of its run in it; and counts."""
_FRAMES = 1 << 18
_FAN_IN = 4


class Question(Protocol):
    """What is asked of a run: the answer is kept, counts go to the tally."""

    def __call__(self, group: int, pieces: Pieces, tally: Tally) -> NDArray[np.float64]:
        """The answer for a run of the group with this number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """How the work is split and run; the result does not depend on it."""

    partitions: int | None = None
    """None: one for about 262,144 frames, but at least 8."""
    scheduler: str | None = None
    """A Dask scheduler; None: Ray where this process has joined a cluster or RAY_ADDRESS names one, else threads."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Item:
    """A run, and its place among the groups and their runs."""

    group: int
    number: int
    run: Run


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """Some runs, with everything that a worker needs to know of them."""

    lake: Lake
    groups: tuple[Group, ...]
    """Without their runs."""
    items: tuple[_Item, ...]


def ask_all(
    lake: Lake, groups: Sequence[Group], question: Question, *, work: Work
) -> tuple[list[list[NDArray[np.float64]]], Tally]:
    """The answer of each run of each group, and the tally of all."""
    add = delayed(_add, pure=False, traverse=False)
    # A part is bound to its function, since Dask and Ray would search each of its runs for what is to be computed.
    asked = [
        delayed(partial(_ask_part, part, question), pure=False, traverse=False)()
        for part in _parts(lake, groups, work.partitions)
    ]
    while len(asked) > 1:
        asked = [add(asked[first : first + _FAN_IN]) for first in range(0, len(asked), _FAN_IN)]
    answers, tally = _compute(asked[0], work.scheduler)
    found = dict(answers)
    return [[found[g, r] for r in range(len(group.runs))] for g, group in enumerate(groups)], tally


def count(tally: Tally, name: tuple[int, ...], bin_N: NDArray[np.int64], *, weight_N: NDArray[np.int64]) -> None:
    """Add to the tally's counts of this name, begun at zero, how often each bin is met."""
    if name not in tally:
        tally[name] = np.zeros(BINS, np.int64)
    np.add.at(tally[name], bin_N, weight_N)


def _parts(lake: Lake, groups: Sequence[Group], partitions: int | None) -> list[_Part]:
    """Parts of about the same frames each; the runs of a shard stand side by side."""
    items = [_Item(group=g, number=r, run=run) for g, group in enumerate(groups) for r, run in enumerate(group.runs)]
    items.sort(key=lambda item: (item.run.shard, item.run.row_group, item.group, item.number))
    ends = np.cumsum([item.run.stop - item.run.start for item in items])
    number = partitions or max(8, int(ends[-1]) // _FRAMES)
    cuts = [0, *np.searchsorted(ends, ends[-1] * np.arange(1, number) / number).tolist(), len(items)]
    heads = tuple(replace(group, runs=()) for group in groups)
    return [
        _Part(lake=lake, groups=heads, items=tuple(items[start:stop])) for start, stop in pairwise(cuts) if start < stop
    ]


def _ask_part(part: _Part, question: Question) -> _Found:
    """The answers of some runs and their tally, each shard opened once."""
    answers, tally = [], Tally()
    for shard, items in groupby(part.items, key=lambda item: item.run.shard):
        with open_shard(part.lake, shard) as file:
            for item in items:
                group = part.groups[item.group]
                state_TD, action_TD = read_run(file, item.run, group)
                answer = question(item.group, _pieces(state_TD, action_TD, group, run=item.run), tally)
                answers.append(((item.group, item.number), answer))
    return answers, tally


def _pieces(
    state_TD: Values, action_TD: Values, group: Group, *, run: Run
) -> Iterator[tuple[slice, Values, NDArray[np.int64]]]:
    split, starts = state_TD.shape[1], group.starts(run)
    yield slice(0, split), state_TD[starts], np.ones(len(starts), np.int64)
    for action_ND, weight_N in counted_actions(state_TD, action_TD, group, run=run):
        yield slice(split, split + action_TD.shape[1]), action_ND, weight_N


def _add(found: Sequence[_Found]) -> _Found:
    total = Tally()
    for _, tally in found:
        for name, count_K in tally.items():
            total[name] = total[name] + count_K if name in total else count_K
    return [answer for answers, _ in found for answer in answers], total


def _compute(asked: Any, scheduler: str | None) -> _Found:
    run: Any = dask.base.compute
    if scheduler is not None or not _is_ray_at_hand():
        return cast(_Found, run(asked, scheduler=scheduler or "threads")[0])
    from ray.exceptions import RayTaskError  # noqa: PLC0415 - seconds, and most machines work alone
    from ray.util.dask import ray_dask_get  # noqa: PLC0415

    from schema.cluster import start_ray  # noqa: PLC0415

    start_ray()
    try:
        return cast(_Found, run(asked, scheduler=ray_dask_get)[0])
    except RayTaskError as error:
        raise error.cause from None  # what was wrong with the lake, not where in Ray it was found


def _is_ray_at_hand() -> bool:
    ray = sys.modules.get("ray")
    return bool(os.environ.get("RAY_ADDRESS")) or (ray is not None and ray.is_initialized())
