"""The order backwards: the positions at which a component's frames come, without walking the sequence.

Every step of `curation.order` is a bijection, so each is undone: frame → draw of an epoch → slot of a block → position.
The cost is that of the answers, whatever the length of the sequence.
"""
# Legend: F frames asked for, K component lanes, E epochs, N (frame, epoch) pairs, B slots of a block.

import numpy as np
from numpy.typing import NDArray

from curation import feistel
from curation.mixture import BLOCK
from curation.order import SHORT, WINDOW, Order
from curation.schedule import SEGMENT_FRAMES


def positions_of(
    order: Order, component: int, frames_F: NDArray[np.int64], *, start: int = 0, stop: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(positions, frames): every position of [start, stop) at which one of these component frames comes, ascending."""
    plan = order.schedule
    lanes_K = np.flatnonzero(plan.component_K == component)
    lane_F = lanes_K[np.searchsorted(plan.first_frame_K[lanes_K], frames_F, side="right") - 1]
    found = [_of_lane(order, int(lane), frames_F[lane_F == lane], stop=stop) for lane in np.unique(lane_F)]
    position_N = np.concatenate([position for position, _ in found] or [np.empty(0, np.int64)])
    frame_N = np.concatenate([frame for _, frame in found] or [np.empty(0, np.int64)])
    kept = np.flatnonzero((position_N >= start) & (position_N < stop))
    kept = kept[np.argsort(position_N[kept])]
    return position_N[kept], frame_N[kept]


def _of_lane(
    order: Order, lane: int, frames_F: NDArray[np.int64], *, stop: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(positions, frames) of one component lane, from 0 to the end of the block that holds `stop`."""
    plan = order.schedule
    frames, quota = int(plan.num_frames_K[lane]), int(plan.quota_K[lane])
    draws = -(-stop // BLOCK) * quota
    epoch_N = np.repeat(np.arange(-(-draws // frames)), frames_F.size)
    frame_N = np.tile(frames_F, -(-draws // frames))
    draw_N = epoch_N * frames + _draw(
        frame_N - plan.first_frame_K[lane],
        frames,
        window=int(order.window_K[lane]),
        key_N=feistel.key(order.key_K[lane], epoch_N),
    )
    slots = np.flatnonzero(plan.component_lane_B == lane)  # in the order of their ranks
    return draw_N // quota * BLOCK + slots[draw_N % quota], frame_N


def _draw(frame_N: NDArray[np.int64], num_frames: int, *, window: int, key_N: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Which draw of its epoch visits each lane frame: the inverse of the visit in `curation.order`."""
    segment_N, offset_N = np.divmod(frame_N, SEGMENT_FRAMES)
    full, gap = num_frames // SEGMENT_FRAMES, -num_frames % SEGMENT_FRAMES
    segments = full + (gap > 0)
    place_N = (feistel.key(key_N, SHORT) % np.uint64(segments)).view(np.int64)
    short_window_N = (place_N if gap else np.full_like(place_N, segments + window)) // window
    is_short_N = segment_N == full  # only where there is a short one
    # Where the segment comes: full ones in permuted order, the short one last in its window, which it makes longer.
    turn_N = feistel.invert(np.where(is_short_N, 0, segment_N), max(full, 1), key_N)
    before_short_N = np.minimum((short_window_N + 1) * window, segments) - 1  # full segments up to the short one
    is_after_N = (turn_N >= before_short_N) & ~is_short_N & (gap > 0)
    nth_N = np.where(is_short_N, before_short_N, turn_N + is_after_N)
    number_N = nth_N // window
    before_N = number_N * window
    here_N = np.minimum(window, segments - before_N)
    index_N = feistel.invert(
        (nth_N - before_N) * SEGMENT_FRAMES + offset_N,
        here_N * SEGMENT_FRAMES - gap * (number_N == short_window_N),
        feistel.key(key_N, WINDOW, number_N),
    )
    draw_N: NDArray[np.int64] = index_N + before_N * SEGMENT_FRAMES - gap * is_after_N
    return draw_N
