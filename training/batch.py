"""A batch: what training sees of B samples, in the robots' own units, padded to one width with masks."""
# Legend: B samples, C camera slots, S picture rows and columns, W padded width, H steps of a chunk.

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(kw_only=True, slots=True)
class Batch:
    """Arrays of B samples. A loader reuses them: they hold until the next batch is asked for; copy what is kept."""

    images: NDArray[np.uint8]
    """`[B, C, S, S, 3]` RGB; a picture is scaled to fit and centred on black, an absent camera is black."""
    image_mask: NDArray[np.bool_]
    """`[B, C]`, whether the slot holds a picture."""
    state: NDArray[np.float32]
    """`[B, W]`, zero where `state_mask` is false."""
    state_mask: NDArray[np.bool_]
    """`[B, W]`, whether the slot is a dimension of this robot's state."""
    actions: NDArray[np.float32]
    """`[B, H, W]` in the lock's action form."""
    action_mask: NDArray[np.bool_]
    """`[B, W]`, whether the slot is a dimension of this robot's action."""
    step_mask: NDArray[np.bool_]
    """`[B, H]`, whether the step was recorded; past the end the values repeat or are zero."""
    prompts: list[str] = field(default_factory=list)
    sample_ids: list[str] = field(default_factory=list)
    """`<episode_id>-<frame>`, the key of the sample in its shard."""
    positions: NDArray[np.int64]
    """`[B]`, positions in the global sample sequence."""
    components: NDArray[np.int64]
    """`[B]`, indices into the lock's components."""

    @classmethod
    def empty(cls, size: int, *, num_cameras: int, image_size: int, width: int, steps: int) -> "Batch":
        """A batch of `size` samples, all zero."""
        return cls(
            images=np.zeros((size, num_cameras, image_size, image_size, 3), np.uint8),
            image_mask=np.zeros((size, num_cameras), np.bool_),
            state=np.zeros((size, width), np.float32),
            state_mask=np.zeros((size, width), np.bool_),
            actions=np.zeros((size, steps, width), np.float32),
            action_mask=np.zeros((size, width), np.bool_),
            step_mask=np.zeros((size, steps), np.bool_),
            prompts=[""] * size,
            sample_ids=[""] * size,
            positions=np.zeros(size, np.int64),
            components=np.zeros(size, np.int64),
        )

    def __len__(self) -> int:
        return len(self.positions)
