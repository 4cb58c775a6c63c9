"""The same question asked of every run of frames, mapped over the shards by Dask: on threads, or on Ray.

A question keeps a small answer per run, and adds counts to a tally; answers are sorted by run and counts are integers,
so nothing depends on how the work was split.
"""
# Legend: D dimensions (state first, then action), N values, K bins.

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import Any, Protocol, cast

import dask.base
import numpy as np
from dask.delayed import delayed
from numpy.typing import NDArray

from curation.signals import Group, Run, Values, counted_actions, open_shard, read_run
from schema.lake import Lake

Pieces = Iterable[tuple[slice, Values, NDArray[np.int64]]]
"""The values of a run, piece by piece: (which of the D dimensions, values [N, …], how often each counts [N])."""
Tally = dict[tuple[int, ...], NDArray[np.int64]]
"""Counts [K] by what they count."""
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
    """A Dask scheduler; None: Ray where it has been initialised, else threads."""


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
    ask, add = delayed(_ask_part, nout=2, pure=False), delayed(_add, pure=False)
    asked = [ask(part, question) for part in _parts(lake, groups, work.partitions)]
    answers, tallies = [one[0] for one in asked], [one[1] for one in asked]
    while len(tallies) > 1:
        tallies = [add(tallies[first : first + _FAN_IN]) for first in range(0, len(tallies), _FAN_IN)]
    run: Any = dask.base.compute
    *parts, tally = run(*answers, *tallies, scheduler=work.scheduler or _scheduler())
    found = {key: answer for part in parts for key, answer in part}
    return [[found[g, r] for r in range(len(group.runs))] for g, group in enumerate(groups)], cast(Tally, tally)


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


def _ask_part(part: _Part, question: Question) -> tuple[list[tuple[tuple[int, int], NDArray[np.float64]]], Tally]:
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


def _add(tallies: Sequence[Tally]) -> Tally:
    total = Tally()
    for tally in tallies:
        for name, count_K in tally.items():
            total[name] = total[name] + count_K if name in total else count_K
    return total


def _scheduler() -> Any:
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return "threads"
    from ray.util.dask import ray_dask_get  # noqa: PLC0415 - only where Ray is there already

    return ray_dask_get
