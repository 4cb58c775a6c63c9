"""How blocks answer the fingers: they are pushed, squeezed, carried, handed over, dropped and stacked.

Quasi-static and deterministic. A block is a cube that only ever lies flat or hangs in a gripper; plates are thin
and do not move by touch. Legend: B blocks, P plates.
"""

from dataclasses import dataclass

import numpy as np

from fleet.arms import Gripper
from fleet.kinematics import Floats, inverse_pose, pose, turn
from fleet.scene import PLATE_HEIGHT_M, Scene

_FALL_SPEED_M_S = 0.9
_GRASP_REACH_M = 0.024
_ON_TOP_SHARE = 0.7
_SQUEEZE_M = 0.002


@dataclass(frozen=True, kw_only=True, eq=False)
class Hand:
    """A gripper at one moment: where its tool is in the world and how far its pads are apart (m)."""

    tool_44: Floats
    width_m: float
    model: Gripper


class Bodies:
    """Where the blocks and plates are, and which hands hold which block."""

    def __init__(self, scene: Scene) -> None:
        self.size_m = scene.block_size_m
        self.plate_radius_m = scene.plate_radius_m
        half = np.full((scene.num_blocks, 1), self.size_m / 2)
        self.position_B3: Floats = np.hstack([scene.block_xy_B2, half])
        self.position_B3[0, 2] += scene.first_block_on_m
        self.rotation_B33: Floats = np.array([turn((0, 0, 1), yaw) for yaw in scene.block_yaw_B])
        self.plate_P3: Floats = np.hstack([scene.plate_xy_P2, np.zeros((len(scene.plate_xy_P2), 1))])
        self.grips: list[dict[int, Floats]] = [{} for _ in range(scene.num_blocks)]
        """Per block, the hands that hold it (oldest first) and the block's pose in their tool."""
        self._last_width_m: dict[int, float] = {}

    def held_by(self, arm: int) -> int | None:
        """The block an arm's hand has hold of, if any."""
        return next((block for block, grip in enumerate(self.grips) if arm in grip), None)

    def step(self, hands: list[Hand], dt_s: float) -> None:
        """Let the hands act on the blocks for one step, then let loose blocks fall."""
        for arm, hand in enumerate(hands):
            self._let_go(arm, hand)
            self._grasp(arm, hand)
            self._last_width_m[arm] = hand.width_m
        for block, grip in enumerate(self.grips):
            if grip:
                self._carry(block, hands)
            else:
                for hand in hands:
                    self._push(block, hand)
                self._fall(block, dt_s)

    def support_m(self, block: int) -> float:
        """Height of what lies under a block's centre: the table, a plate, or another resting block (m)."""
        x, y, z = self.position_B3[block]
        height = 0.0
        if np.any(np.hypot(self.plate_P3[:, 0] - x, self.plate_P3[:, 1] - y) < self.plate_radius_m):
            height = PLATE_HEIGHT_M
        for other, grip in enumerate(self.grips):
            if other == block or grip:
                continue
            ox, oy, oz = self.position_B3[other]
            near = max(abs(ox - x), abs(oy - y)) < _ON_TOP_SHARE * self.size_m
            if near and z > oz + self.size_m / 4:
                height = max(height, oz + self.size_m / 2)
        return height

    def _pose(self, block: int) -> Floats:
        return pose(self.position_B3[block], self.rotation_B33[block])

    def _let_go(self, arm: int, hand: Hand) -> None:
        """Release what an opened hand held; the oldest hand left over keeps it."""
        block = self.held_by(arm)
        if block is None or hand.width_m < self.size_m + 2 * _SQUEEZE_M:
            return
        del self.grips[block][arm]
        if not self.grips[block]:
            # A cube that is put down lies flat: keep the turn of its most level edge.
            edges = self.rotation_B33[block]
            edge = edges[:, int(np.argmin(np.abs(edges[2])))]
            self.rotation_B33[block] = turn((0, 0, 1), float(np.arctan2(edge[1], edge[0])))

    def _grasp(self, arm: int, hand: Hand) -> None:
        """Take hold of a block between pads that close on it in this step."""
        touch_m = self.size_m + _SQUEEZE_M
        is_closing_on_it = hand.width_m <= touch_m < self._last_width_m.get(arm, 0.0)
        if not is_closing_on_it or self.held_by(arm) is not None:
            return
        tool_back_44 = inverse_pose(hand.tool_44)
        for block in range(len(self.grips)):
            x, y, z = (tool_back_44 @ np.append(self.position_B3[block], 1.0))[:3]
            is_between = abs(y) < self.size_m * 0.4 and abs(x) < _GRASP_REACH_M and abs(z) < _GRASP_REACH_M
            if is_between:
                relative_44 = tool_back_44 @ self._pose(block)
                if not self.grips[block]:
                    relative_44[1, 3] = 0.0
                self.grips[block][arm] = relative_44
                return

    def _carry(self, block: int, hands: list[Hand]) -> None:
        """Move a held block with its oldest hand; younger ones update what they feel."""
        owner, *others = self.grips[block]
        moved_44 = hands[owner].tool_44 @ self.grips[block][owner]
        moved_44[2, 3] = max(moved_44[2, 3], self.size_m / 2)
        self.position_B3[block], self.rotation_B33[block] = moved_44[:3, 3], moved_44[:3, :3]
        for other in others:
            self.grips[block][other] = inverse_pose(hands[other].tool_44) @ moved_44

    def _push(self, block: int, hand: Hand) -> None:
        """Shove a loose block, taken as a disc, out of the fingers' footprint."""
        top_m = self.position_B3[block, 2] + self.size_m / 2
        tip = hand.tool_44[:3, 3] + hand.tool_44[:3, 2] * hand.model.tip_m
        if tip[2] > top_m - 0.004 or np.hypot(*(tip[:2] - self.position_B3[block, :2])) > 0.15:
            return
        side_xy = hand.tool_44[:2, 1] / max(float(np.hypot(*hand.tool_44[:2, 1])), 1e-9)
        front_xy = np.array([side_xy[1], -side_xy[0]])
        thick_m, spread_m = hand.model.finger_thickness_m, hand.width_m / 2
        if hand.width_m < self.size_m:
            # A block does not fit between such fingers: together they are one broad edge.
            edges = [(0.0, spread_m + thick_m)]
        else:
            edges = [(sign * (spread_m + thick_m / 2), thick_m / 2) for sign in (-1.0, 1.0)]
        for aside_m, half_side_m in edges:
            half = np.array([hand.model.finger_width_m / 2, half_side_m])
            offset = self.position_B3[block, :2] - tip[:2] - side_xy * aside_m
            local = np.array([offset @ front_xy, offset @ side_xy])
            gap = local - np.clip(local, -half, half)
            distance = float(np.hypot(*gap))
            overlap = self.size_m / 2 - distance
            if distance > 1e-9 and overlap > 0:
                away = gap / distance * overlap
                self.position_B3[block, :2] += away[0] * front_xy + away[1] * side_xy

    def _fall(self, block: int, dt_s: float) -> None:
        rest_m = self.support_m(block) + self.size_m / 2
        fallen_m = self.position_B3[block, 2] - _FALL_SPEED_M_S * dt_s
        self.position_B3[block, 2] = max(rest_m, fallen_m)
