"""What a policy must beat: holding still, and the mean chunk of the task. Both in the lock's action form and units."""
# Legend: B samples, C components, H steps, A action dimensions of a robot, S state dimensions, W padded width.

import numpy as np
from numpy.typing import NDArray

from curation.lock import Component, Lock
from schema.lake import Lake
from training.batch import Batch
from training.filler import Filler, Sample
from training.fixed_samples import spread
from training.shard_cache import ShardCache

Floats = NDArray[np.float32]


def hold_still(lock: Lock, batch: Batch) -> Floats:
    """`[B, H, W]`: what the state is now, repeated; zero for velocities, and for what no state tells."""
    chunks_BHW = np.zeros_like(batch.actions)
    for index in np.unique(batch.components).tolist():
        rows = np.flatnonzero(batch.components == index)
        held_BW = _held(lock, lock.components[index], batch.state[rows])
        chunks_BHW[rows] = held_BW[:, None]
    return chunks_BHW


def _held(lock: Lock, component: Component, state_BW: Floats) -> Floats:
    state, action = lock.dimensions(component)
    state_slots, action_slots = lock.slots(component)
    state_BS = state_slots.unpad(state_BW)
    origins = {dimension.name.partition(".")[2]: place for place, dimension in enumerate(state)}
    rule = lock.chunk_rule(component)
    held_BA = np.zeros((len(state_BW), len(action)), np.float32)
    for place, dimension in enumerate(action):
        origin = origins.get(dimension.name.partition(".")[2])
        if dimension.signal.mode == "absolute" and origin is not None and not rule.is_delta[place]:
            held_BA[:, place] = state_BS[:, origin]
    return action_slots.pad(held_BA)


def mean_chunks(lock: Lock, lake: Lake, *, per_run: int = 64) -> Floats:
    """`[C, H, W]`: each task's mean chunk, over chunk starts spread over its training episodes and valid steps."""
    shape = (len(lock.components), lock.chunk_steps, lock.width)
    total_CHW, count_CH1 = np.zeros(shape), np.zeros((*shape[:2], 1))
    filler = Filler(lock, ShardCache(lake, cache_bytes=2**28))
    samples = spread(lock.runs, per_run=per_run)
    for first in range(0, len(samples), _ROWS):
        part = samples[first : first + _ROWS]
        batch = Batch.empty(len(part), num_cameras=0, image_size=1, width=lock.width, steps=lock.chunk_steps)
        filler.fill_numbers(batch, [_in_row(one, row) for row, one in enumerate(part)])
        np.add.at(total_CHW, batch.components, batch.actions * batch.step_mask[:, :, None])
        np.add.at(count_CH1, batch.components, batch.step_mask[:, :, None])
    return (total_CHW / np.maximum(1, count_CH1)).astype(np.float32)


_ROWS = 256


def _in_row(one: Sample, row: int) -> Sample:
    return Sample(row=row, run=one.run, frame=one.frame, component=one.component, position=one.position)
