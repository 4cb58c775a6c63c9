"""Which component each slot of a block draws from, exact to the slot, and how components are cut into lanes.

Every block of positions repeats one schedule: position p has slot p mod 2**20. A component has exactly its quota
of slots, and at every 1,024 slots it has had its share to within one. `curation.order` turns slots into frames.
"""

# Legend: B slots of a block, C components, K component lanes (all lanes of component 0, then of component 1, …),
# L lanes of the sequence, R runs of 1,024 slots.
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from curation import feistel
from curation.mixture import BLOCK

RUN_SLOTS = 1024
"""Slots are shuffled within runs of this many, and shares are kept to within one slot at every run's end."""
NUM_RUNS = BLOCK // RUN_SLOTS
SEGMENT_FRAMES = 32
"""Frames per segment, the unit of reading; a component has no more lanes than segments."""

_SHUFFLE = 1  # purpose of a key, see feistel.key
_PIECE = 1 << 16
"""Slots that are worked on together: their numbers stay in the processor's cache, and take little memory."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Schedule:
    """The slots of a block (about 6 MB) and the component lanes they draw from."""

    component_lane_B: NDArray[np.unsignedinteger]
    """Index in [0, K) of the component lane that each slot draws from."""
    rank_B: NDArray[np.uint32]
    """How many earlier slots of the block draw from the same component lane."""
    component_K: NDArray[np.int64]
    lane_K: NDArray[np.int64]
    """Lane number inside the component: 0 … lanes of the component - 1."""
    quota_K: NDArray[np.int64]
    """Slots per block, at least 1; they sum to the component's quota over its lanes."""
    first_frame_K: NDArray[np.int64]
    """Component frame number at which the lane begins."""
    num_frames_K: NDArray[np.int64]
    """Frames in the lane, at least 1; they sum to the component's frames over its lanes."""


def build(quota_C: NDArray[np.int64], num_frames_C: NDArray[np.int64], *, seed: int, lanes: int) -> Schedule:
    """Schedule of a block for quotas that sum to 2**20, with components of at least 1 frame.

    `lanes` is a power of two up to 1,024: slot s belongs to lane s mod `lanes`, and to lane s mod L_c of a
    component with L_c lanes. L_c is the largest power of two up to `lanes` and the component's segments, halved
    until each of its lanes has slots and frames.

    A lane gets frames in proportion to its slots, not an equal number: the shuffle gives the lanes of a rare
    component unequal numbers of slots, the same in every block, and every frame is to come equally often.

    The last few are kept, of some megabytes each, and shared: they are read-only.
    """
    return _build(tuple(quota_C.tolist()), tuple(num_frames_C.tolist()), seed=seed, lanes=lanes)


@lru_cache(maxsize=4)
def _build(quotas: tuple[int, ...], frames: tuple[int, ...], *, seed: int, lanes: int) -> Schedule:
    """Once for all orders of the same numbers in a process, since it takes a tenth of a second."""
    quota_C, num_frames_C = np.array(quotas, np.int64), np.array(frames, np.int64)
    assert int(quota_C.sum()) == BLOCK
    assert lanes & (lanes - 1) == 0
    assert 1 <= lanes <= RUN_SLOTS
    component_B = component_of_slot(quota_C, seed)
    lane_S = np.arange(_PIECE) % lanes
    slots_CL = np.zeros(quota_C.size * lanes, np.int64)
    for component_S in component_B.reshape(-1, _PIECE):
        slots_CL += np.bincount(component_S * np.int64(lanes) + lane_S, minlength=slots_CL.size)
    cuts = [
        _cut(slots_L, num_frames)
        for slots_L, num_frames in zip(slots_CL.reshape(-1, lanes), num_frames_C.tolist(), strict=True)
    ]
    lanes_C = np.array([slots_K.size for slots_K, _ in cuts])
    begin_C = np.cumsum(lanes_C) - lanes_C
    quota_K = np.concatenate([slots_K for slots_K, _ in cuts])
    narrow = np.uint16 if quota_K.size <= 1 << 16 else np.uint32
    component_lane_B: NDArray[np.unsignedinteger] = np.empty(BLOCK, narrow)
    for component_S, lane_of_S in zip(
        component_B.reshape(-1, _PIECE), component_lane_B.reshape(-1, _PIECE), strict=True
    ):
        lane_of_S[:] = begin_C[component_S] + (lane_S & (lanes_C - 1)[component_S])
    schedule = Schedule(
        component_lane_B=component_lane_B,
        rank_B=_ranks(component_lane_B, quota_K),
        component_K=np.repeat(np.arange(lanes_C.size), lanes_C),
        lane_K=np.arange(quota_K.size) - np.repeat(begin_C, lanes_C),
        quota_K=quota_K,
        first_frame_K=np.concatenate([edges[:-1] for _, edges in cuts]),
        num_frames_K=np.concatenate([np.diff(edges) for _, edges in cuts]),
    )
    for field in fields(schedule):
        getattr(schedule, field.name).setflags(write=False)
    return schedule


def counts(quota_C: NDArray[np.int64]) -> NDArray[np.int64]:
    """Slots [R + 1, C] that each component has had at the start of each run and at the block's end.

    Row j sums to 1,024 j and differs from j * quota / 1,024 by less than 1. Each slot of a component is a job of
    unit length: the k-th is released in the run where its share first exceeds k - 1 and is due at the end of the
    run where it reaches k. A run has room for 1,024 jobs. Fractional shares fill this without a miss, so whole
    jobs can too (a bipartite flow has an integral solution), and earliest deadline first finds them.
    """
    count_RC = np.zeros((NUM_RUNS + 1, quota_C.size), np.int64)
    never = np.int64(1 << 62)
    for j in range(1, NUM_RUNS + 1):
        share_C = j * quota_C  # in units of 1 / 1,024 slot
        count_C = np.maximum(count_RC[j - 1], share_C // RUN_SLOTS)
        spare = j * RUN_SLOTS - int(count_C.sum())
        if spare:
            deadline_C = ((count_C + 1) << 40) // quota_C  # of the next job, finer than runs to settle ties
            deadline_C[count_C * RUN_SLOTS >= share_C] = never
            count_C[np.argsort(deadline_C, kind="stable")[:spare]] += 1
        count_RC[j] = count_C
    return count_RC


def component_of_slot(quota_C: NDArray[np.int64], seed: int) -> NDArray[np.unsignedinteger]:
    """Component [B] of each slot: the counts of each run, shuffled by a permutation keyed by seed and run."""
    narrow = np.uint16 if quota_C.size <= 1 << 16 else np.uint32
    per_run_RC = np.diff(counts(quota_C), axis=0)
    component_R = np.tile(np.arange(quota_C.size, dtype=narrow), NUM_RUNS)
    sorted_B = np.repeat(component_R, per_run_RC.reshape(-1)).reshape(NUM_RUNS, RUN_SLOTS)
    shuffled_B: NDArray[np.unsignedinteger] = np.empty(sorted_B.shape, narrow)
    for rows in np.arange(NUM_RUNS).reshape(-1, _PIECE // RUN_SLOTS):
        key_R = feistel.key(seed, _SHUFFLE, rows)
        place = feistel.permute(np.arange(RUN_SLOTS)[None], RUN_SLOTS, key_R[:, None])
        shuffled_B[rows[:, None], place] = sorted_B[rows]
    return shuffled_B.ravel()


def _cut(slots_L: NDArray[np.int64], num_frames: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """One component's lanes: the slots of each, and the frame numbers [lanes + 1] between which each lies."""
    segments = -(-num_frames // SEGMENT_FRAMES)
    lanes = min(slots_L.size, 1 << (segments.bit_length() - 1))
    while True:
        slots_K = slots_L.reshape(-1, lanes).sum(axis=0)
        share = np.concatenate([[0], np.cumsum(slots_K)])
        edges = num_frames * share // share[-1]
        if lanes == 1 or np.diff(edges).min() > 0:
            return slots_K, edges
        lanes //= 2


def _ranks(component_lane_B: NDArray[np.unsignedinteger], quota_K: NDArray[np.int64]) -> NDArray[np.uint32]:
    """How many earlier slots have the same component lane."""
    rank_B = np.empty(component_lane_B.size, np.uint32)
    before_K = np.zeros(quota_K.size, np.int64)
    for lane_S, rank_S in zip(component_lane_B.reshape(-1, _PIECE), rank_B.reshape(-1, _PIECE), strict=True):
        here_K = np.bincount(lane_S, minlength=quota_K.size)
        first_K = np.cumsum(here_K) - here_K
        rank_S[np.argsort(lane_S, kind="stable")] = np.arange(_PIECE) + np.repeat(before_K - first_K, here_K)
        before_K += here_K
    return rank_B
