"""Normalization by a lock's statistics, and its exact inverse: what the model sees, and back to the robot's units.

z = (x − mean) / std per dimension, or by quantiles where the lock says so, of the component's statistics. Grippers
keep their fraction and dimensions with almost no variance are only centred (`curation.statistics` sets their mean and
std so).
"""
# Legend: B samples, C components, H steps, W padded width.

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from curation.lock import Lock
from curation.recipe_model import Normalization
from schema.errors import ConfigError

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Normalizer:
    """Mean and standard deviation of every padded slot, by component; 0 and 1 where a slot holds no dimension."""

    state_mean_CW: Floats
    state_std_CW: Floats
    action_mean_CW: Floats
    action_std_CW: Floats

    @classmethod
    def of(cls, lock: Lock) -> Self:
        """The normalizer of a lock; ConfigError where it holds no statistics for a component."""
        rows = lock.stats.to_pylist()
        shape = (len(lock.components), lock.width)
        parts = {f"{role}_{what}_CW": np.full(shape, fill, np.float32) for role in _ROLES for what, fill in _FILLS}
        for index, component in enumerate(lock.components):
            mine = [row for row in rows if row["key"] == component.stats_key]
            if {row["role"] for row in mine} != set(_ROLES):
                raise ConfigError(
                    f"the lock has no statistics {component.stats_key!r} for component {component.name!r}: "
                    "make the lock again"
                )
            for row in mine:
                for (what, _), value in zip(_FILLS, centre_and_scale(row, lock.normalization), strict=True):
                    parts[f"{row['role']}_{what}_CW"][index, row["slot"]] = value
        return cls(**parts)

    def state(self, state_BW: Floats, component_B: NDArray[np.int64]) -> Floats:
        """Normalized states `[B, W]`."""
        return (state_BW - self.state_mean_CW[component_B]) / self.state_std_CW[component_B]

    def actions(self, actions_BHW: Floats, component_B: NDArray[np.int64]) -> Floats:
        """Normalized chunks `[B, H, W]`."""
        mean_B1W, std_B1W = self.action_mean_CW[component_B, None], self.action_std_CW[component_B, None]
        return (actions_BHW - mean_B1W) / std_B1W

    def native_actions(self, actions_BHW: Floats, component_B: NDArray[np.int64]) -> Floats:
        """Chunks `[B, H, W]` back in the robots' units, in the lock's action form."""
        mean_B1W, std_B1W = self.action_mean_CW[component_B, None], self.action_std_CW[component_B, None]
        return actions_BHW * std_B1W + mean_B1W


def centre_and_scale(row: Mapping[str, Any], normalization: Normalization) -> tuple[float, float]:
    """What is subtracted from a dimension, and what it is then divided by, from its row of the lock's statistics.

    By quantiles what lies between the 1 % and the 99 % quantile comes to −1 … 1; grippers and dimensions that hardly
    move follow their own rule either way.
    """
    if normalization == "quantile" and row["rule"] == "measured":
        return (row["q99"] + row["q01"]) / 2, (row["q99"] - row["q01"]) / 2
    return row["mean"], row["std"]


_ROLES = ("state", "action")
_FILLS = (("mean", 0.0), ("std", 1.0))
