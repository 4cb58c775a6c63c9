"""The order: position in the global sample sequence → sample, a pure function of (lock, seed).

No frame of a component lane returns before all its frames have come (one epoch). Nothing is remembered between
calls, so seeking is free and any number of readers can share one sequence. Runs says where a frame lies, and
`curation.inverse` at which positions a frame comes.
"""

# Legend: P positions, C components, K component lanes, R runs, J entries of the jump table, U undecided positions.
from dataclasses import InitVar, dataclass, field

import numpy as np
from numpy.typing import NDArray

from curation import feistel, schedule
from curation.mixture import BLOCK
from curation.schedule import SEGMENT_FRAMES, Schedule
from schema.errors import ConfigError, problems

_EPOCH, SHORT, WINDOW = 2, 3, 4  # purposes of keys, see feistel.key; 1 is the schedule's
_JUMPS_AT_ONCE = 1 << 16
"""A table of millions of entries is made in pieces, so that opening it needs no more memory than it keeps."""


def window_segments(quota_C: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """Segments per window of each component, at least 1, in proportion to quotas so that they sum to about `total`.

    `total` is the working set of one lane in segments, of which every draw finds its own at hand. A reader of
    several lanes holds that many times `total` at most.
    """
    share_C = total * np.asarray(quota_C, np.int64)
    return np.maximum(1, (2 * share_C + BLOCK) // (2 * BLOCK))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Samples:
    """What to read at each position; every array is int64 [P]."""

    position: NDArray[np.int64]
    component: NDArray[np.int64]
    epoch: NDArray[np.int64]
    """Times the component lane has been visited whole before."""
    lane: NDArray[np.int64]
    """Lane number inside the component."""
    segment: NDArray[np.int64]
    """Segment number inside the component lane; 32 frames each, the last one may be shorter."""
    frame: NDArray[np.int64]
    """Component frame number, 0 … frames of the component - 1."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Order:
    """The sample of every position >= 0, from a lock's numbers and a seed.

    Raises:
        ConfigError: numbers no order can be made of, all in one message.
    """

    num_frames_C: NDArray[np.int64]
    """Selected frames of each component, in [1, 2**40)."""
    quota_C: NDArray[np.int64]
    """Draws of each component per block, at least 1; they sum to 2**20."""
    window_C: NDArray[np.int64]
    """Segments per window of each component's lanes, at least 1; see window_segments."""
    seed: int
    lanes: int = 1
    """A power of two up to 1,024; position p belongs to lane p mod `lanes`."""
    schedule: Schedule = field(init=False, repr=False)
    key_K: NDArray[np.uint64] = field(init=False, repr=False)
    """Of each component lane; see `feistel.key`."""
    window_K: NDArray[np.int64] = field(init=False, repr=False)
    """Segments per window of each component lane, at most those that it has."""

    def __post_init__(self) -> None:
        error = problems(ConfigError, "no order can be made of these numbers:", _faults(self))
        if error:
            raise error
        plan = schedule.build(self.quota_C, self.num_frames_C, seed=self.seed, lanes=self.lanes)
        object.__setattr__(self, "schedule", plan)
        object.__setattr__(self, "key_K", feistel.key(self.seed, _EPOCH, plan.component_K, plan.lane_K))
        segments_K = -(-plan.num_frames_K // SEGMENT_FRAMES)
        object.__setattr__(self, "window_K", np.minimum(self.window_C[plan.component_K], segments_K))

    def samples(self, positions: NDArray[np.int64]) -> Samples:
        """The samples at the positions, in their order; cheapest at 4,096 positions or more per call."""
        positions = np.asarray(positions, np.int64)
        if positions.size and positions.min() < 0:
            raise ValueError(f"positions count from 0; found {positions.min()}")
        plan = self.schedule
        slot_P = positions & (BLOCK - 1)
        lane_P = plan.component_lane_B[slot_P].astype(np.int64)  # index in [0, K)
        draw_P = (positions >> (BLOCK.bit_length() - 1)) * plan.quota_K[lane_P] + plan.rank_B[slot_P]
        num_frames_P = plan.num_frames_K[lane_P]
        epoch_P = draw_P // num_frames_P
        segment_P, offset_P = _visit(
            draw_P - epoch_P * num_frames_P,
            num_frames_P,
            window_P=self.window_K[lane_P],
            key_P=feistel.key(self.key_K[lane_P], epoch_P),
        )
        return Samples(
            position=positions,
            component=plan.component_K[lane_P],
            epoch=epoch_P,
            lane=plan.lane_K[lane_P],
            segment=segment_P,
            frame=plan.first_frame_K[lane_P] + segment_P * SEGMENT_FRAMES + offset_P,
        )


def rank_positions(start: int, stop: int, *, rank: int, world_size: int) -> NDArray[np.int64]:
    """Positions p of [start, stop) that the rank reads: those with p mod world_size == rank, ascending.

    Every position belongs to exactly one rank, and a global batch of a multiple of `world_size` is dealt evenly.
    Where `world_size` divides the lanes these are exactly the lanes rank, rank + world_size, …, so that ranks
    read different segments; otherwise every rank reads of every lane, which is as correct and reads more.
    """
    assert 0 <= rank < world_size
    return np.arange(start + (rank - start) % world_size, stop, world_size, dtype=np.int64)


def _faults(order: Order) -> list[str]:
    """Everything that is wrong with an order's numbers, one line each."""
    shapes = {name: getattr(order, name).shape for name in ("num_frames_C", "quota_C", "window_C")}
    if len(set(shapes.values())) > 1 or order.quota_C.ndim != 1:
        return [f"expected three lists of the same length, one number per component; found {shapes!r}"]
    lines = []
    if order.quota_C.sum() != BLOCK or (order.quota_C < 1).any():
        lines.append(f"quotas must be >= 1 and sum to {BLOCK:,}, not {order.quota_C.sum():,}: take them from quotas()")
    if (order.num_frames_C < 1).any() or (order.num_frames_C >= feistel.MAX_SIZE).any():
        lines.append("every component needs 1 to 2**40 - 1 frames: leave empty ones out of the mixture")
    if (order.window_C < 1).any():
        lines.append("windows must have >= 1 segment: take them from window_segments()")
    if order.lanes not in {1 << bits for bits in range(11)}:
        lines.append(f"lanes is {order.lanes!r}; expected a power of two from 1 to {schedule.RUN_SLOTS:,}")
    return lines


def _visit(
    draw_P: NDArray[np.int64],
    num_frames_P: NDArray[np.int64],
    *,
    window_P: NDArray[np.int64],
    key_P: NDArray[np.uint64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Segment, and frame in it, of each draw of an epoch: a bijection of [0, num_frames) for every key.

    The segments come in an order permuted by the key, `window` of them at a time, and the frames of a window in
    an order permuted by a key of its own. The one short segment, if any, is put in a window drawn by the key (as
    likely as the window has segments), last before the window's frames are permuted; the full ones are permuted
    around it. Draws after the short window are counted as if that segment were full, which makes all windows but
    the last begin at a multiple of their length.
    """
    full_P = num_frames_P // SEGMENT_FRAMES
    gap_P = -num_frames_P % SEGMENT_FRAMES
    segments_P = full_P + (gap_P > 0)
    length_P = window_P * SEGMENT_FRAMES
    place_P = (feistel.key(key_P, SHORT) % segments_P.view(np.uint64)).view(np.int64)
    short_window_P = np.where(gap_P > 0, place_P, segments_P + window_P) // window_P
    number_P = (draw_P + gap_P * (draw_P >= (short_window_P + 1) * length_P - gap_P)) // length_P
    is_after_P, has_short_P = number_P > short_window_P, number_P == short_window_P
    before_P = number_P * window_P  # segments before the window, the short one counted
    here_P = np.minimum(window_P, segments_P - before_P)
    index_P = feistel.permute(
        draw_P + gap_P * is_after_P - before_P * SEGMENT_FRAMES,
        here_P * SEGMENT_FRAMES - gap_P * has_short_P,
        feistel.key(key_P, WINDOW, number_P),
    )
    nth_P = index_P // SEGMENT_FRAMES
    is_short_P = has_short_P & (nth_P == here_P - 1)
    turn_P = np.where(is_short_P, 0, before_P + nth_P - is_after_P)  # among the full segments
    segment_P = feistel.permute(turn_P, np.maximum(full_P, 1), key_P)
    return np.where(is_short_P, full_P, segment_P), index_P % SEGMENT_FRAMES


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Runs:
    """Where each component frame lies in the lock's table of runs, which is sorted by component.

    Raises:
        ConfigError: a run without frames, or runs that are not sorted by component.
    """

    num_frames_R: InitVar[NDArray[np.integer]]
    """Selected frames of each run, at least 1."""
    component_R: InitVar[NDArray[np.integer]]
    """Component of each run, ascending."""
    every: int = 1
    """Frames from one selected frame of a run to the next."""
    component_run_start_C: NDArray[np.int64] = field(init=False, repr=False)
    """First run of each component, and last the number of runs; as long as the components plus 1."""
    frame_start_R: NDArray[np.integer] = field(init=False, repr=False)
    """Frames in all runs before each run, and last all frames; as long as the runs plus 1."""
    _jump_J: NDArray[np.int32] = field(init=False, repr=False)
    """The run that holds frame j << shift: where a search begins, the next entry is where it ends."""
    _shift: int = field(init=False, repr=False)

    def __post_init__(self, num_frames_R: NDArray[np.integer], component_R: NDArray[np.integer]) -> None:
        runs = num_frames_R.size
        if runs == 0 or num_frames_R.min() < 1 or component_R[0] < 0 or (component_R[1:] < component_R[:-1]).any():
            raise ConfigError(
                "expected at least one run, each with frames and a component >= 0, sorted by component: "
                "the lock's table of runs is damaged; make the lock again"
            )
        frames = int(num_frames_R.sum(dtype=np.int64))
        start_R = np.zeros(runs + 1, np.uint32 if frames < 1 << 32 else np.int64)
        np.cumsum(num_frames_R, dtype=start_R.dtype, out=start_R[1:])
        shift = max(0, frames.bit_length() - runs.bit_length() + 1)
        jump_J = np.empty((frames >> shift) + 2, np.int32)
        for first in range(0, jump_J.size, _JUMPS_AT_ONCE):
            part_J = jump_J[first : first + _JUMPS_AT_ONCE]
            frame_J = np.minimum(np.arange(first, first + part_J.size) << shift, frames).astype(start_R.dtype)
            part_J[:] = np.minimum(np.searchsorted(start_R, frame_J, side="right") - 1, runs - 1)
        starts_C = np.searchsorted(component_R, np.arange(component_R[-1] + 2))
        object.__setattr__(self, "component_run_start_C", starts_C)
        object.__setattr__(self, "frame_start_R", start_R)
        object.__setattr__(self, "_jump_J", jump_J)
        object.__setattr__(self, "_shift", shift)

    @property
    def selected_R(self) -> NDArray[np.int64]:
        """Selected frames of each run."""
        return np.diff(self.frame_start_R).astype(np.int64)

    @property
    def owner_R(self) -> NDArray[np.int64]:
        """Component of each run."""
        return np.repeat(np.arange(self.component_run_start_C.size - 1), np.diff(self.component_run_start_C))

    def locate(
        self, component_P: NDArray[np.int64], frame_P: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Run (its row in the table) and frame counted from the run's start of each one; frames are not checked.

        A table of a quarter to one entry per run narrows each search to a few of them.
        """
        target_P = self.frame_start_R[self.component_run_start_C[component_P]] + frame_P
        bucket_P = target_P >> self._shift
        run_P, last_P = self._jump_J[bucket_P].astype(np.int64), self._jump_J[bucket_P + 1]
        open_U = np.flatnonzero(run_P < last_P)
        low_U, high_U, target_U = run_P[open_U], last_P[open_U].astype(np.int64), target_P[open_U]
        while open_U.size:
            middle_U = (low_U + high_U + 1) >> 1
            is_up_U = self.frame_start_R[middle_U] <= target_U
            low_U, high_U = np.where(is_up_U, middle_U, low_U), np.where(is_up_U, high_U, middle_U - 1)
            run_P[open_U] = low_U
            still = np.flatnonzero(low_U < high_U)
            open_U, low_U, high_U, target_U = open_U[still], low_U[still], high_U[still], target_U[still]
        return run_P, (target_P - self.frame_start_R[run_P]) * self.every
