"""Chunks: the H recorded actions from a start on, and what stands where the recording has ended.

Past the end (of the episode, or of what a frame rule keeps) absolute and gripper dimensions repeat the last value,
velocity and delta dimensions are zero, and the step mask says false. In the delta form an absolute dimension with a
state of the same name is told from the state at the chunk's start. Statistics and the loader both gather here.
"""
# Legend: B chunk starts, H steps of a chunk, T frames, D action dimensions, S state dimensions.

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, TypeVar, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from curation.resample import Resample, recorded_steps, resample
from schema.embodiment import Dimension
from schema.errors import ConfigError

ActionForm = Literal["stored", "delta"]
ACTION_FORMS: tuple[ActionForm, ...] = get_args(ActionForm)
Float = TypeVar("Float", bound=np.floating)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ChunkRule:
    """How each of D action dimensions ends, and which are told from the state at the chunk's start."""

    repeats_D: NDArray[np.bool_]
    """Whether the last value is repeated past the end (absolute and gripper); the others are zero there."""
    origin_D: NDArray[np.intp]
    """Index of the state dimension that is subtracted in the delta form; -1 where the stored value is taken."""
    resample: Resample | None = None
    """How recorded frames become steps; None where a step is a frame."""

    @property
    def is_delta(self) -> NDArray[np.bool_]:
        """`[D]`, whether the delta form changes the dimension."""
        return self.origin_D >= 0


def chunk_rule(
    action: Sequence[Dimension],
    state: Sequence[Dimension],
    form: ActionForm,
    *,
    ratio: Fraction = Fraction(1),
    steps: int = 1,
) -> ChunkRule:
    """The rule for these action and state dimensions, and for chunks of `steps` at a `ratio` of frames per step.

    In the delta form an absolute dimension is told from the state dimension of the same name (without `state.` or
    `action.`), unit and frame; grippers, velocities, deltas and dimensions without such a state stay as stored.

    Raises:
        ConfigError: the delta form, or the resampling, of an absolute rotation, which arithmetic on its numbers does
            not give.
    """
    repeats_D = np.array([one.signal.mode == "absolute" or one.is_gripper for one in action], np.bool_)
    origin_D = np.full(len(action), -1, np.intp)
    if form == "delta":
        origins = {_meaning(one): index for index, one in enumerate(state)}
        for place, one in enumerate(action):
            if one.signal.mode == "absolute" and not one.is_gripper:
                origin_D[place] = origins.get(_meaning(one), -1)
        turned = [one.name for one, place in zip(action, origin_D, strict=True) if place >= 0 and one.signal.rotation]
        if turned:
            raise ConfigError(
                f"the delta form of a rotation is not a difference of its numbers, found {', '.join(turned)}: "
                "choose `action_form: stored`, or an action space without an absolute eef_rotation"
            )
    return ChunkRule(repeats_D=repeats_D, origin_D=origin_D, resample=resample(action, ratio, steps=steps))


def chunk_rows(starts_B: ArrayLike, steps: int, stop: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Rows `[B, H]` of the recorded steps, the last one repeated past the end, and the step mask `[B, H]`.

    `stop` is where the recording ends, exclusive: one number, or one for each start. Every start is before it.
    """
    start_B = np.asarray(starts_B, np.int64)
    stop_B = np.broadcast_to(np.asarray(stop, np.int64), start_B.shape)
    assert (start_B >= 0).all()
    assert (start_B < stop_B).all()
    row_BH = start_B[:, None] + np.arange(steps)
    return np.minimum(row_BH, stop_B[:, None] - 1), row_BH < stop_B[:, None]


def gather(
    action_TD: NDArray[Float], starts_B: ArrayLike, *, steps: int, stop: ArrayLike, rule: ChunkRule
) -> tuple[NDArray[Float], NDArray[np.bool_]]:
    """Chunks `[B, H, D]` in the stored form and the step mask `[B, H]`, resampled and with the end rule applied.

    Rows are those of `action_TD`, which may hold several episodes one after the other; see `chunk_rows` for `stop`.
    """
    if rule.resample is not None:
        return _gather_resampled(action_TD, starts_B, steps=steps, stop=stop, rule=rule)
    row_BH, step_mask_BH = chunk_rows(starts_B, steps, stop)
    action_BHD = action_TD[row_BH]
    if not step_mask_BH.all():
        action_BHD[~step_mask_BH[:, :, None] & ~rule.repeats_D] = 0
    return action_BHD, step_mask_BH


def write_chunk(out_HD: NDArray[Float], action_TD: NDArray[Float], start: int, *, stop: int, rule: ChunkRule) -> int:
    """What `gather` gives for one start, written into `out_HD` by slices; how many of its steps were recorded."""
    if rule.resample is None:
        recorded = min(len(out_HD), stop - start)
        out_HD[:recorded] = action_TD[start : start + recorded]
    else:
        recorded = min(len(out_HD), recorded_steps(stop - start, rule.resample.q))
        out_HD[:recorded] = rule.resample(action_TD[start:stop], recorded)
    if recorded < len(out_HD):
        out_HD[recorded:] = np.where(rule.repeats_D, action_TD[stop - 1], 0)
    return recorded


def _gather_resampled(
    action_TD: NDArray[Float], starts_B: ArrayLike, *, steps: int, stop: ArrayLike, rule: ChunkRule
) -> tuple[NDArray[Float], NDArray[np.bool_]]:
    start_B = np.asarray(starts_B, np.int64)
    stop_B = np.broadcast_to(np.asarray(stop, np.int64), start_B.shape)
    action_BHD = np.empty((len(start_B), steps, action_TD.shape[1]), action_TD.dtype)
    recorded_B = [
        write_chunk(out_HD, action_TD, start, stop=end, rule=rule)
        for out_HD, start, end in zip(action_BHD, start_B.tolist(), stop_B.tolist(), strict=True)
    ]
    return action_BHD, np.arange(steps) < np.array(recorded_B, np.int64)[:, None]


def to_delta(action_BHD: NDArray[Float], state_BS: NDArray[Float], rule: ChunkRule) -> NDArray[Float]:
    """Chunks in the delta form: less the state `[B, S]` at each chunk's start, where the rule says so."""
    return action_BHD - _origin(state_BS, rule)[:, None]


def from_delta(action_BHD: NDArray[Float], state_BS: NDArray[Float], rule: ChunkRule) -> NDArray[Float]:
    """Chunks back in the stored form: what a policy adds to the state from which it was asked."""
    return action_BHD + _origin(state_BS, rule)[:, None]


def _origin(state_BS: NDArray[Float], rule: ChunkRule) -> NDArray[Float]:
    """What the delta form subtracts, `[B, D]`; zero where the stored value is taken."""
    origin_BD = state_BS[:, np.maximum(rule.origin_D, 0)]
    origin_BD[:, ~rule.is_delta] = 0
    return origin_BD


def _meaning(dimension: Dimension) -> tuple[object, ...]:
    """What a state and an action dimension share where one can be told from the other."""
    signal = dimension.signal
    name = dimension.name.partition(".")[2]
    return name, dimension.unit, signal.frame, signal.quantity, signal.rotation, signal.mode
