"""Scripted behaviours: what a hand wants next, decided anew at every step from where things really are.

A script yields one `Goal` per control step (None: keep the last command) and is over when its work is done.
Because nothing is planned ahead, a bumped arm or a moved target is answered by the commands that follow.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from fleet.driving import is_at
from fleet.kinematics import Floats, forward, inverse, inverse_pose, pose, rotation_vector, turn
from fleet.robot import Place2
from fleet.world import World

OPEN, CLOSED = 0.0, 1.0

_TURN_SPEED_RAD_S = 3.2
_ACCELERATION_M_S2 = 2.5
_ARRIVED_M = 0.006
_PASSED_M = 0.03
_HOVER_M = 0.09
_FUNNEL_SLOPE = 3.0
_FUNNEL_MOUTH_M = 0.007
_LIFT_M = 0.1
_GRIP_S = 0.7
_SQUEEZE_S = 0.08
_PUSH_HEIGHT_M = 0.026
_PUSH_START_M = 0.085
_PUSH_OFF_LINE_M = 0.02
_PUSH_LEAD_M = 0.035
# Fingers a little apart make a broad edge, off which the block does not slip sideways.
_PUSH_CLOSURE = 0.6
_HANDOVER_PITCH_RAD = np.pi / 4
_HANDOVER_GAP_M = 0.1


@dataclass(frozen=True, kw_only=True, eq=False)
class Goal:
    """Where a tool should go (world, m), how it should be turned, and its gripper (0 open, 1 closed)."""

    position: Floats
    rotation_33: Floats
    gripper: float
    speed_share: float = 1.0
    """Share of the robot's usual tool speed."""


@dataclass(frozen=True, kw_only=True)
class Drive:
    """Where the base should go; the arm that asks keeps its pose."""

    place: Place2


Script: TypeAlias = Iterator[Goal | Drive | None]


class Hand:
    """One arm of a world as scripts see and move it."""

    def __init__(self, world: World, arm: int) -> None:
        self.world, self.arm = world, arm
        self.mount = world.robot.mounts[arm]
        self.size_m = world.bodies.size_m
        self._pace_m_s = 0.0

    @property
    def heading_rad(self) -> float:
        """Direction the arm faces now."""
        return self.mount.heading_rad + float(self.world.place()[2])

    @property
    def passing_rad(self) -> float:
        """Direction from this arm to the other one, in which it hands things over."""
        own, other = (self.world.mount_frame(arm)[:2, 3] for arm in (self.arm, 1 - self.arm))
        return float(np.arctan2(other[1] - own[1], other[0] - own[0]))

    @property
    def tool(self) -> Floats:
        """The reached tool pose in the world."""
        return self.world.tool(self.arm)

    @property
    def holds(self) -> int | None:
        """The block it holds."""
        return self.world.bodies.held_by(self.arm)

    def block(self, block: int) -> Floats:
        """Where a block's centre is now."""
        where: Floats = self.world.bodies.position_B3[block].copy()
        return where

    def down(self, yaw_rad: float | None = None) -> Floats:
        """The tool's rotation when it points straight down; by default it faces ahead."""
        return tilted(self.heading_rad if yaw_rad is None else yaw_rad, 0.0)

    def across(self, block: int) -> Floats:
        """The rotation that points down with the fingers square to a block, nearest to facing ahead."""
        edge = self.world.bodies.rotation_B33[block][:, 0]
        off = float(np.arctan2(edge[1], edge[0])) - self.heading_rad
        return self.down(self.heading_rad + (off + np.pi / 4) % (np.pi / 2) - np.pi / 4)

    def command(self, goal: Goal) -> Floats:
        """The joint targets and gripper that lead towards a goal from the pose reached now.

        The servo closes only a share of the error per step, so the target leads the arm by speed · dt / share.
        """
        world, reached_44 = self.world, self.tool
        lead_s = world.dt_s / world.servo_share
        top_speed = world.robot.tool_speed_m_s * goal.speed_share
        self._pace_m_s = min(top_speed, self._pace_m_s + _ACCELERATION_M_S2 * world.dt_s)
        shift = _at_most(goal.position - reached_44[:3, 3], self._pace_m_s * lead_s)
        self._pace_m_s = min(self._pace_m_s, 0.1 + float(np.linalg.norm(shift)) / lead_s)
        spin = _at_most(rotation_vector(goal.rotation_33 @ reached_44[:3, :3].T), _TURN_SPEED_RAD_S * lead_s)
        angle = float(np.linalg.norm(spin))
        rotation_33 = turn(spin / max(angle, 1e-9), angle) @ reached_44[:3, :3]
        target_44 = inverse_pose(world.mount_frame(self.arm)) @ pose(reached_44[:3, 3] + shift, rotation_33)
        start_J = world.state()[world.robot.joints_of(self.arm)]
        solution = inverse(self.mount.arm.chain, target_44, start_J, iterations=5, tolerance=1e-4)
        return np.append(solution.joint_J, goal.gripper)


def tilted(heading_rad: float, pitch_rad: float) -> Floats:
    """A tool rotation that points down, then raised by a pitch towards its heading."""
    ahead = np.array([np.cos(heading_rad), np.sin(heading_rad), 0.0])
    up = np.array([0.0, 0.0, 1.0])
    z = ahead * np.sin(pitch_rad) - up * np.cos(pitch_rad)
    x = ahead * np.cos(pitch_rad) + up * np.sin(pitch_rad)
    return np.column_stack([x, np.cross(z, x), z])


def reach(hand: Hand, where: Callable[[], Goal], *, within_m: float = _ARRIVED_M) -> Script:
    """Go straight to a goal that may move."""
    while True:
        goal = where()
        if np.linalg.norm(goal.position - hand.tool[:3, 3]) < within_m:
            return
        yield goal


def descend(hand: Hand, where: Callable[[], Goal]) -> Script:
    """Come down on a goal from above: as through a funnel, high while it is off to the side."""

    def funnelled() -> Goal:
        goal = where()
        aside_m = float(np.hypot(*(goal.position - hand.tool[:3, 3])[:2]))
        height = min(_HOVER_M, _FUNNEL_SLOPE * max(0.0, aside_m - _FUNNEL_MOUTH_M))
        return _at(goal, goal.position + np.array([0.0, 0.0, height]))

    while np.linalg.norm(where().position - hand.tool[:3, 3]) > _ARRIVED_M:
        yield funnelled()


def grip(hand: Hand, gripper: float, *, until: Callable[[], bool]) -> Script:
    """Move the fingers where the tool stands, until something is so, plus a moment to squeeze."""
    here_44 = hand.tool
    goal = Goal(position=here_44[:3, 3], rotation_33=here_44[:3, :3], gripper=gripper)
    for _ in range(round(_GRIP_S / hand.world.dt_s)):
        if until():
            break
        yield goal
    for _ in range(round(_SQUEEZE_S / hand.world.dt_s)):
        yield goal


def pick(hand: Hand, block: int) -> Script:
    """Take a block from above and lift it; try again until it is held."""

    def at_block() -> Goal:
        return Goal(position=hand.block(block), rotation_33=hand.across(block), gripper=OPEN)

    while hand.holds != block:
        yield from descend(hand, at_block)
        yield from grip(hand, CLOSED, until=lambda: hand.holds == block)
        if hand.holds != block:
            yield from rise(hand, OPEN)
    yield from rise(hand, CLOSED)


def rise(hand: Hand, gripper: float) -> Script:
    """Go up from where the tool is."""
    top = hand.tool[:3, 3] + (0, 0, _LIFT_M)
    rotation_33 = hand.tool[:3, :3]
    goal = Goal(position=top, rotation_33=rotation_33, gripper=gripper)
    yield from reach(hand, lambda: goal, within_m=_PASSED_M)


def place(hand: Hand, block: int, where: Callable[[], Floats]) -> Script:
    """Set the held block down with its centre at a place that may move, let go and rise."""

    def at_place() -> Goal:
        tool_44 = hand.tool
        carried = hand.block(block) - tool_44[:3, 3]
        return Goal(position=where() - carried, rotation_33=hand.down(), gripper=CLOSED)

    yield from descend(hand, at_place)
    yield from grip(hand, OPEN, until=lambda: hand.holds != block)
    yield from rise(hand, OPEN)


def push(hand: Hand, block: int, where: Callable[[], Floats]) -> Script:
    """Shove a block along the table with nearly closed fingers until its centre is at a place that may move."""

    def line() -> tuple[Floats, float]:
        run = (where() - hand.block(block))[:2]
        length = float(np.hypot(*run))
        return run / max(length, 1e-9), length

    def behind(distance_m: float) -> Goal:
        ahead, _ = line()
        position = np.append(hand.block(block)[:2] - ahead * distance_m, _PUSH_HEIGHT_M)
        # Either face of the fingers may push, so half a turn either way is the same.
        off = float(np.arctan2(ahead[1], ahead[0])) - hand.heading_rad
        yaw = hand.heading_rad + (off + np.pi / 2) % np.pi - np.pi / 2
        return Goal(position=position, rotation_33=hand.down(yaw), gripper=_PUSH_CLOSURE, speed_share=0.8)

    def off_line_m() -> float:
        ahead, _ = line()
        offset = (hand.block(block) - hand.tool[:3, 3])[:2]
        return float(abs(offset[0] * ahead[1] - offset[1] * ahead[0])) if offset @ ahead > 0 else np.inf

    near_m = 0.012
    contact_m = (hand.size_m + hand.mount.arm.gripper.finger_width_m) / 2
    while line()[1] > near_m:
        yield from descend(hand, lambda: behind(_PUSH_START_M))
        while line()[1] > near_m and off_line_m() < _PUSH_OFF_LINE_M:
            yield behind(contact_m - min(_PUSH_LEAD_M, line()[1] + near_m))
        yield from rise(hand, _PUSH_CLOSURE)


def give(hand: Hand, block: int, *, meeting: Floats, taker: Hand) -> Script:
    """Bring the held block to a meeting point, wait until the other hand has it, let go and draw back."""
    rotation_33 = tilted(hand.passing_rad, _HANDOVER_PITCH_RAD)

    def at_meeting() -> Goal:
        return Goal(position=meeting, rotation_33=rotation_33, gripper=CLOSED)

    while taker.holds != block:
        yield at_meeting()
    yield from grip(hand, OPEN, until=lambda: hand.holds != block)
    back = Goal(position=meeting - rotation_33[:, 2] * _HANDOVER_GAP_M, rotation_33=rotation_33, gripper=OPEN)
    yield from reach(hand, lambda: back, within_m=_PASSED_M)
    yield from go_home(hand)


def take(hand: Hand, block: int, *, meeting: Floats, giver: Hand) -> Script:
    """Wait near a meeting point, take the block the other hand holds out, and carry it off when it lets go."""
    towards_33 = tilted(hand.passing_rad, _HANDOVER_PITCH_RAD)
    rotation_33 = towards_33 @ turn((0, 0, 1), np.pi / 2)
    gap = towards_33[:, 2] * _HANDOVER_GAP_M

    def waiting() -> Goal:
        return Goal(position=meeting - gap, rotation_33=rotation_33, gripper=OPEN)

    def at_block() -> Goal:
        return Goal(position=hand.block(block), rotation_33=rotation_33, gripper=OPEN)

    def is_offered() -> bool:
        tool_44 = giver.tool
        turned = float(
            np.linalg.norm(rotation_vector(tilted(giver.passing_rad, _HANDOVER_PITCH_RAD) @ tool_44[:3, :3].T))
        )
        return giver.holds == block and float(np.linalg.norm(tool_44[:3, 3] - meeting)) < 0.012 and turned < 0.08

    while hand.holds != block:
        while not is_offered():
            yield waiting()
        yield from reach(hand, waiting, within_m=_PASSED_M)
        yield from reach(hand, at_block)
        yield from grip(hand, CLOSED, until=lambda: hand.holds == block)
    while giver.holds == block:
        yield None
    back = Goal(position=meeting - gap, rotation_33=hand.down(), gripper=CLOSED)
    yield from reach(hand, lambda: back, within_m=0.05)


def go_home(hand: Hand) -> Script:
    """Back to the pose an episode starts from, fingers open."""
    home_44 = hand.world.mount_frame(hand.arm) @ forward(hand.mount.arm.chain, np.array([hand.mount.home_J]))[0]
    goal = Goal(position=home_44[:3, 3], rotation_33=home_44[:3, :3], gripper=OPEN)
    yield from reach(hand, lambda: goal, within_m=0.015)


def drive(hand: Hand, place: Place2) -> Script:
    """Drive the base to a place; the arm that asks keeps its pose."""
    while not is_at(hand.world.place(), place):
        yield Drive(place=place)


def await_place(hand: Hand, place: Place2) -> Script:
    """Wait until another arm has driven the base to a place and it stands."""
    while not is_at(hand.world.place(), place):
        yield None


def _at(goal: Goal, position: Floats) -> Goal:
    return Goal(position=position, rotation_33=goal.rotation_33, gripper=goal.gripper, speed_share=goal.speed_share)


def _at_most(vector: Floats, length: float) -> Floats:
    """The vector, shortened to a length if it is longer."""
    norm = float(np.sqrt(vector @ vector))
    return vector if norm <= length else vector * (length / norm)
