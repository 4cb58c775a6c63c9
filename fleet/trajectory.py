"""What has to be known to draw a stretch of time. Legend: T steps, D state width, B blocks, P plates."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from fleet.kinematics import Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Trajectory:
    """Reached states (rad, gripper 0 open to 1 closed) and object poses (m) over time."""

    state_TD: Floats
    block_position_TB3: Floats
    block_rotation_TB33: Floats
    plate_position_TP3: Floats
    place_T3: Floats
    """Where the base is (see `driving`); zeros for a robot without one."""

    def __len__(self) -> int:
        return len(self.state_TD)

    def between(self, start: int, stop: int) -> "Trajectory":
        """The steps from start up to, not including, stop."""
        return Trajectory(**{field.name: getattr(self, field.name)[start:stop] for field in fields(self)})

    def at(self, step_N: Floats) -> "Trajectory":
        """The moments at fractional steps: between two, lengths and angles are linear and blocks turn at once."""
        before_N = np.clip(np.floor(step_N).astype(int), 0, len(self) - 1)
        after_N = np.minimum(before_N + 1, len(self) - 1)
        share_N = np.clip(step_N - before_N, 0.0, 1.0)

        def between(values: Floats) -> Floats:
            share = share_N.reshape(-1, *[1] * (values.ndim - 1))
            mixed: Floats = (1 - share) * values[before_N] + share * values[after_N]
            return mixed

        return Trajectory(
            state_TD=between(self.state_TD),
            block_position_TB3=between(self.block_position_TB3),
            block_rotation_TB33=self.block_rotation_TB33[before_N],
            plate_position_TP3=between(self.plate_position_TP3),
            place_T3=between(self.place_T3),
        )


def join(parts: Sequence[Trajectory]) -> Trajectory:
    """Trajectories one after another."""
    return Trajectory(
        **{field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Trajectory)}
    )
