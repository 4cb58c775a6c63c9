"""A pinhole camera as numbers: where it is over time and where points land in its picture.

Camera frame: x right, y down, z forward. Legend: T steps, N points.
"""

from dataclasses import dataclass

import numpy as np

from fleet.kinematics import Floats, pose
from fleet.robot import Camera, Robot
from fleet.solids import Solids

NEAR_M = 0.02
"""Nothing nearer than this is drawn."""


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """A camera over time: poses in the world and focal length in pixels."""

    eye_T3: Floats
    rotation_T33: Floats
    """World to camera."""
    focal_px: float
    centre_px: tuple[float, float]

    def to_camera(self, points: Floats) -> Floats:
        """World points (T, ..., 3) in the camera frame (m)."""
        extra = (1,) * (points.ndim - 2)
        eye = self.eye_T3.reshape(-1, *extra, 3)
        back = np.swapaxes(self.rotation_T33, 1, 2).reshape(-1, *(extra[1:]), 3, 3)
        seen: Floats = (points - eye) @ back
        return seen

    def to_pixels(self, seen: Floats) -> Floats:
        """Pixel coordinates (..., 2) of camera-frame points; depth is kept at least `NEAR_M`."""
        depth = np.maximum(seen[..., 2:], NEAR_M)
        pixels: Floats = seen[..., :2] / depth * self.focal_px + self.centre_px
        return pixels


def view_of(robot: Robot, camera: Camera, solids: Solids, *, height: int, width: int) -> View:
    """The view of a camera while its robot moves; a fixed camera has one pose for all steps."""
    placed_44 = _look_at(camera)
    if camera.mount is not None:
        pose_T44 = solids.tool_TA44[:, robot.side_index(camera.mount)] @ placed_44
    else:
        pose_T44 = placed_44[None] if solids.robot_T44 is None else solids.robot_T44 @ placed_44
    return View(
        eye_T3=pose_T44[:, :3, 3],
        rotation_T33=np.swapaxes(pose_T44[:, :3, :3], 1, 2),
        focal_px=height / 2 / float(np.tan(np.radians(camera.fov_deg) / 2)),
        centre_px=(width / 2, height / 2),
    )


def _look_at(camera: Camera) -> Floats:
    """Pose of a camera at its position that looks at its target."""
    forward = np.subtract(camera.target, camera.position)
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, camera.up)
    right = right / np.linalg.norm(right)
    return pose(camera.position, np.column_stack([right, np.cross(forward, right), forward]))
