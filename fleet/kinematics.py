"""Forward and inverse kinematics of serial arms, from published DH rows or screw axes.

Both descriptions become one: an axis line per joint in the base frame at the zero pose, and the tool's zero
pose (product of exponentials). Whatever is fixed to link `j` at the zero pose is moved by frame `j`.
Legend: T steps, J joints, M columns of a table.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]

_DAMPING_FLOOR = 1e-8
_DAMPING_SLOPE = 1e-2
_MAX_STEP_RAD = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Chain:
    """A serial arm of revolute joints: axis lines and tool pose at the zero pose, in the base frame (m, rad)."""

    axis_J3: Floats
    """Unit direction of each joint's axis."""
    point_J3: Floats
    """Any point on each joint's axis."""
    tool_44: Floats
    """Tool pose at the zero pose: z is the approach direction, y the direction the fingers open along."""
    limit_J2: Floats
    """Lowest and highest angle of each joint."""

    @property
    def num_joints(self) -> int:
        """Number of joints."""
        return len(self.axis_J3)

    @cached_property
    def cross_J33(self) -> Floats:
        """The matrix that takes the cross product with each axis."""
        return np.stack([_cross(axis) for axis in self.axis_J3])

    @cached_property
    def cross_twice_J33(self) -> Floats:
        """The same, taken twice."""
        return self.cross_J33 @ self.cross_J33


@dataclass(frozen=True, kw_only=True, eq=False)
class IkSolution:
    """Joint angles found, within the limits, and how far the tool is from what was asked (m, rad)."""

    joint_J: Floats
    position_error_m: float
    rotation_error_rad: float


def pose(position: Sequence[float] | Floats, rotation_33: Floats | None = None) -> Floats:
    """A 4x4 rigid transform of a position (m) and a rotation (none: identity)."""
    made_44 = np.eye(4)
    if rotation_33 is not None:
        made_44[:3, :3] = rotation_33
    made_44[:3, 3] = position
    return made_44


def inverse_pose(pose_44: Floats) -> Floats:
    """The transform that undoes a rigid transform."""
    back_33 = pose_44[:3, :3].T
    return pose(-back_33 @ pose_44[:3, 3], back_33)


def turn(axis: Sequence[float] | Floats, angle_rad: float) -> Floats:
    """The 3x3 rotation by an angle around a unit axis."""
    cross_33 = _cross(np.asarray(axis, float))
    spun: Floats = np.eye(3) + np.sin(angle_rad) * cross_33 + (1 - np.cos(angle_rad)) * cross_33 @ cross_33
    return spun


def rotation_vector(rotation_33: Floats) -> Floats:
    """Axis times angle (rad, at most π) of a 3x3 rotation."""
    skew = np.array(
        [
            rotation_33[2, 1] - rotation_33[1, 2],
            rotation_33[0, 2] - rotation_33[2, 0],
            rotation_33[1, 0] - rotation_33[0, 1],
        ]
    )
    sine = 0.5 * float(np.sqrt(skew @ skew))
    cosine = 0.5 * float(rotation_33[0, 0] + rotation_33[1, 1] + rotation_33[2, 2] - 1)
    angle = float(np.arctan2(sine, cosine))
    if sine > 1e-6:
        near: Floats = skew * (0.5 * angle / sine)
        return near
    if cosine > 0:
        return 0.5 * skew
    # Half a turn: the skew part vanishes and the axis is read from R + I = 2 a aᵀ.
    column = (rotation_33 + np.eye(3))[:, int(np.argmax(np.diag(rotation_33)))]
    half_turn: Floats = column / np.linalg.norm(column) * angle
    return half_turn


def chain_from_dh(dh_JM: Sequence[Sequence[float]], *, limit_J2: Sequence[Sequence[float]], tool_44: Floats) -> Chain:
    """The chain of classic Denavit–Hartenberg rows (a m, d m, α rad), every θ offset zero.

    Row i is Rz(θᵢ) Tz(dᵢ) Tx(aᵢ) Rx(αᵢ); `tool_44` is the tool in the last frame.
    """
    frame_44 = np.eye(4)
    axes, points = [], []
    for a, d, alpha in dh_JM:
        axes.append(frame_44[:3, 2].copy())
        points.append(frame_44[:3, 3].copy())
        frame_44 = frame_44 @ pose((a, 0, d), turn((1, 0, 0), alpha))
    return Chain(
        axis_J3=np.array(axes),
        point_J3=np.array(points),
        tool_44=frame_44 @ tool_44,
        limit_J2=np.array(limit_J2, float),
    )


def chain_from_screws(
    screw_J6: Sequence[Sequence[float]], *, limit_J2: Sequence[Sequence[float]], tool_44: Floats
) -> Chain:
    """The chain of space-frame screw axes (ω, v = -ω × q) and the tool's pose at the zero pose."""
    screw = np.array(screw_J6, float)
    axis_J3, moment_J3 = screw[:, :3], screw[:, 3:]
    return Chain(
        axis_J3=axis_J3,
        point_J3=np.cross(axis_J3, moment_J3),
        tool_44=tool_44,
        limit_J2=np.array(limit_J2, float),
    )


def chain_from_craig_dh(
    dh_JM: Sequence[Sequence[float]], *, limit_J2: Sequence[Sequence[float]], tool_44: Floats
) -> Chain:
    """The chain of modified Denavit–Hartenberg rows (a m, d m, α rad, θ offset rad), as Craig writes them.

    Row i is Rx(αᵢ₋₁) Tx(aᵢ₋₁) Rz(θᵢ + offset) Tz(dᵢ), its a and α being those of the link before; `tool_44` is the
    tool in the last frame.
    """
    frame_44 = np.eye(4)
    axes, points = [], []
    for a, d, alpha, offset in dh_JM:
        frame_44 = frame_44 @ pose((a, 0, 0), turn((1, 0, 0), alpha))
        axes.append(frame_44[:3, 2].copy())
        points.append(frame_44[:3, 3].copy())
        frame_44 = frame_44 @ pose((0, 0, d), turn((0, 0, 1), offset))
    return Chain(
        axis_J3=np.array(axes),
        point_J3=np.array(points),
        tool_44=frame_44 @ tool_44,
        limit_J2=np.array(limit_J2, float),
    )


def chain_from_urdf(
    joint_J3: Sequence[tuple[Sequence[float], Sequence[float], Sequence[float]]],
    *,
    limit_J2: Sequence[Sequence[float]],
    tool_44: Floats,
) -> Chain:
    """The chain of a URDF's revolute joints: origin xyz (m), rpy (rad) and axis; `tool_44` is in the last link."""
    frame_44 = np.eye(4)
    axes, points = [], []
    for xyz, (roll, pitch, yaw), axis in joint_J3:
        turned_33 = turn((0, 0, 1), yaw) @ turn((0, 1, 0), pitch) @ turn((1, 0, 0), roll)
        frame_44 = frame_44 @ pose(xyz, turned_33)
        axes.append(frame_44[:3, :3] @ np.asarray(axis, float))
        points.append(frame_44[:3, 3].copy())
    return Chain(
        axis_J3=np.array(axes),
        point_J3=np.array(points),
        tool_44=frame_44 @ tool_44,
        limit_J2=np.array(limit_J2, float),
    )


def link_frames(chain: Chain, joint_TJ: Floats) -> Floats:
    """How each link has moved since the zero pose: (T, J + 1, 4, 4), the first being the fixed base."""
    num_joints = chain.num_joints
    sine = np.sin(joint_TJ)[..., None, None]
    versine = (1 - np.cos(joint_TJ))[..., None, None]
    spin = np.eye(3) + sine * chain.cross_J33 + versine * chain.cross_twice_J33
    local = np.zeros((*joint_TJ.shape, 4, 4))
    local[..., :3, :3] = spin
    local[..., :3, 3] = chain.point_J3 - (spin @ chain.point_J3[:, :, None])[..., 0]
    local[..., 3, 3] = 1
    frames = np.empty((len(joint_TJ), num_joints + 1, 4, 4))
    frames[:, 0] = np.eye(4)
    for j in range(num_joints):
        np.matmul(frames[:, j], local[:, j], out=frames[:, j + 1])
    return frames


def forward(chain: Chain, joint_TJ: Floats) -> Floats:
    """Tool poses (T, 4, 4) in the base frame."""
    tool: Floats = link_frames(chain, joint_TJ)[:, -1] @ chain.tool_44
    return tool


def jacobian(chain: Chain, frames: Floats, position: Floats) -> Floats:
    """Linear, then angular velocity of a tool point per joint velocity: (6, J), from one step's link frames."""
    before = frames[:-1]
    axis_J3 = (before[:, :3, :3] @ chain.axis_J3[:, :, None])[..., 0]
    point_J3 = (before[:, :3, :3] @ chain.point_J3[:, :, None])[..., 0] + before[:, :3, 3]
    arm = position - point_J3
    made = np.empty((6, len(axis_J3)))
    made[0] = axis_J3[:, 1] * arm[:, 2] - axis_J3[:, 2] * arm[:, 1]
    made[1] = axis_J3[:, 2] * arm[:, 0] - axis_J3[:, 0] * arm[:, 2]
    made[2] = axis_J3[:, 0] * arm[:, 1] - axis_J3[:, 1] * arm[:, 0]
    made[3:] = axis_J3.T
    return made


def inverse(
    chain: Chain, target_44: Floats, start_J: Floats, *, iterations: int = 60, tolerance: float = 1e-6
) -> IkSolution:
    """Joint angles that bring the tool to a pose in the base frame, by damped least squares from `start_J`.

    The result stays within the joint limits and is the best step seen; out of reach, its errors say so.
    """
    low_J, high_J = chain.limit_J2.T
    joint_J = np.clip(start_J, low_J, high_J)
    best = IkSolution(joint_J=joint_J, position_error_m=np.inf, rotation_error_rad=np.inf)
    for _ in range(iterations + 1):
        frames = link_frames(chain, joint_J[None])[0]
        tool_44 = frames[-1] @ chain.tool_44
        error = np.empty(6)
        error[:3] = target_44[:3, 3] - tool_44[:3, 3]
        error[3:] = rotation_vector(target_44[:3, :3] @ tool_44[:3, :3].T)
        position_error, rotation_error = float(np.sqrt(error[:3] @ error[:3])), float(np.sqrt(error[3:] @ error[3:]))
        if position_error + rotation_error < best.position_error_m + best.rotation_error_rad:
            best = IkSolution(joint_J=joint_J, position_error_m=position_error, rotation_error_rad=rotation_error)
        if position_error + rotation_error < tolerance:
            break
        slope = jacobian(chain, frames, tool_44[:3, 3])
        damping = _DAMPING_FLOOR + _DAMPING_SLOPE * float(error @ error)
        step_J = slope.T @ np.linalg.solve(slope @ slope.T + damping * np.eye(6), error)
        step_J *= min(1.0, _MAX_STEP_RAD / max(float(np.abs(step_J).max()), 1e-12))
        joint_J = np.clip(joint_J + step_J, low_J, high_J)
    return best


def _cross(axis: Floats) -> Floats:
    """The matrix that takes the cross product with a vector."""
    x, y, z = axis
    return np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
