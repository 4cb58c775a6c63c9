"""The solids of a trajectory in world coordinates: capsules, boxes and discs, for all steps at once.

Legend: T steps, C capsules, X boxes, F faces of a box, P plates, N points of a rim.
"""

from dataclasses import dataclass

import numpy as np

from fleet.arms import Colour, Gripper
from fleet.driving import robot_frames
from fleet.kinematics import Floats, link_frames
from fleet.robot import Robot
from fleet.scene import COLOURS, PLATE_HEIGHT_M, Scene
from fleet.trajectory import Trajectory

RIM_POINTS = 20
BOX_FACES = ((0, 1, 3, 2), (4, 5, 7, 6), (0, 1, 5, 4), (2, 3, 7, 6), (0, 2, 6, 4), (1, 3, 7, 5))
"""Corner indices around each face; corner bits are (x, y, z) from the highest: -x, +x, -y, +y, -z, +z."""

_CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
_PALM_BAR_M = 0.02


@dataclass(frozen=True, kw_only=True, eq=False)
class Solids:
    """Everything above the table top, in metres."""

    robot_T44: Floats | None
    """The robot's frame, if it moves."""
    tool_TA44: Floats
    """Tool pose per arm."""
    capsule_end_TC23: Floats
    capsule_radius_C: Floats
    capsule_colours: tuple[Colour, ...]
    box_centre_TX3: Floats
    box_axes_TX33: Floats
    """Unit axes of each box as columns."""
    box_half_X3: Floats
    box_colours: tuple[Colour, ...]
    plate_rim_TPN3: Floats
    plate_colours: tuple[Colour, ...]

    def box_corners(self) -> Floats:
        """Corners of each box: (T, X, 8, 3)."""
        local_X83 = _CORNERS * self.box_half_X3[:, None]
        corners: Floats = local_X83 @ np.swapaxes(self.box_axes_TX33, -1, -2) + self.box_centre_TX3[:, :, None]
        return corners


def solids_of(robot: Robot, scene: Scene, trajectory: Trajectory) -> Solids:
    """What a robot and the objects on its table look like over a trajectory."""
    tools, ends, centres, axes, halves = [], [], [], [], []
    robot_T44 = None if robot.base is None else robot_frames(robot.base, trajectory.place_T3)
    radii: list[float] = []
    capsule_colours: list[Colour] = []
    box_colours: list[Colour] = []
    for arm, mount in enumerate(robot.mounts):
        chain, gripper = mount.arm.chain, mount.arm.gripper
        frames = mount.base_44 @ link_frames(chain, trajectory.state_TD[:, robot.joints_of(arm)])
        if robot_T44 is not None:
            frames = robot_T44[:, None] @ frames
        tool_T44 = frames[:, -1] @ chain.tool_44
        tools.append(tool_T44)
        for capsule in mount.arm.capsules:
            points = np.array([[*capsule.start, 1.0], [*capsule.end, 1.0]])
            ends.append((frames[:, capsule.link] @ points.T).swapaxes(1, 2)[..., :3])
            radii.append(capsule.radius_m)
            capsule_colours.append(capsule.colour)
        palm = np.array(
            [[0, 0, -gripper.finger_length_m - gripper.palm_length_m, 1], [0, 0, -gripper.finger_length_m, 1]]
        )
        ends.append((tool_T44 @ palm.T).swapaxes(1, 2)[..., :3])
        radii.append(gripper.palm_radius_m)
        capsule_colours.append(gripper.colour)
        for centre_T3, half in _gripper_boxes(gripper, trajectory.state_TD[:, robot.gripper_of(arm)]):
            centres.append((tool_T44[:, :3, :3] @ centre_T3[..., None])[..., 0] + tool_T44[:, :3, 3])
            axes.append(tool_T44[:, :3, :3])
            halves.append(half)
            box_colours.append(gripper.finger_colour)
    for block in range(scene.num_blocks):
        centres.append(trajectory.block_position_TB3[:, block])
        axes.append(trajectory.block_rotation_TB33[:, block])
        halves.append((scene.block_size_m / 2,) * 3)
        box_colours.append(COLOURS[scene.block_colours[block]])
    return Solids(
        robot_T44=robot_T44,
        tool_TA44=np.stack(tools, 1),
        capsule_end_TC23=np.stack(ends, 1),
        capsule_radius_C=np.array(radii),
        capsule_colours=tuple(capsule_colours),
        box_centre_TX3=np.stack(centres, 1),
        box_axes_TX33=np.stack(axes, 1),
        box_half_X3=np.array(halves),
        box_colours=tuple(box_colours),
        plate_rim_TPN3=_rims(trajectory.plate_position_TP3, scene.plate_radius_m),
        plate_colours=tuple(COLOURS[colour] for colour in scene.plate_colours),
    )


def _gripper_boxes(gripper: Gripper, closure_T: Floats) -> list[tuple[Floats, tuple[float, float, float]]]:
    """Two fingers and the bar they slide on: centres in the tool frame (T, 3) and half sizes."""
    reach = gripper.finger_length_m + gripper.tip_m
    finger = (gripper.finger_width_m / 2, gripper.finger_thickness_m / 2, reach / 2)
    bar_half_y = gripper.opening_m / 2 + gripper.finger_thickness_m
    bar = (gripper.finger_width_m * 0.7, bar_half_y, _PALM_BAR_M / 2)
    apart_T = gripper.opening_m * (1 - closure_T) / 2 + gripper.finger_thickness_m / 2
    boxes = []
    for sign in (-1.0, 1.0):
        centre_T3 = np.zeros((len(closure_T), 3))
        centre_T3[:, 1] = sign * apart_T
        centre_T3[:, 2] = gripper.tip_m - reach / 2
        boxes.append((centre_T3, finger))
    centre_T3 = np.zeros((len(closure_T), 3))
    centre_T3[:, 2] = -gripper.finger_length_m
    return [*boxes, (centre_T3, bar)]


def _rims(plate_TP3: Floats, radius_m: float) -> Floats:
    angle_N = np.linspace(0, 2 * np.pi, RIM_POINTS, endpoint=False)
    circle_N3 = np.stack([np.cos(angle_N), np.sin(angle_N), np.zeros(RIM_POINTS)], -1) * radius_m
    rims: Floats = plate_TP3[:, :, None] + circle_N3 + (0, 0, PLATE_HEIGHT_M)
    return rims
