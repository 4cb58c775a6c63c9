"""A software renderer: solids become shaded polygons, painted from far to near with Pillow. No OpenGL.

Everything is projected for many steps at once in numpy; only the painting is per picture.
Legend: T steps, I painted solids (capsules, then boxes), C capsules, X boxes, K polygon points.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from fleet.ground import Ground
from fleet.kinematics import Floats
from fleet.robot import Robot
from fleet.scene import Scene
from fleet.shading import box_inks, ink, shade
from fleet.solids import BOX_FACES, Solids, solids_of
from fleet.trajectory import Trajectory
from fleet.view import NEAR_M, View, view_of

_BATCH = 64
_ARC_POINTS = 6
# A capsule is painted as ever smaller, lighter copies of itself, shifted towards the light: share of the
# radius, shift in radii, brightness.
_CAPSULE_LAYERS = ((1.0, 0.0, 0.58), (0.74, 0.2, 0.85), (0.36, 0.42, 1.12))
_LIGHT_PX = np.array([-0.6, -0.8])
_INNER_PLATE_SHARE = 0.68
_SHADOW_SHARE = 0.62
_HIDDEN_DEPTH_M = -1.0

Polygon = list[float]


@dataclass(frozen=True, kw_only=True)
class _Paint:
    """The polygons of some steps: nested lists by step, then solid."""

    order: list[list[int]]
    capsules: list[list[list[Polygon]]]
    faces: list[list[list[Polygon]]]
    face_inks: list[list[list[int]]]
    plates: list[list[list[Polygon]]]
    shadows: list[list[Polygon]]


class Renderer:
    """Pictures of one camera at one scene: RGB uint8, (height, width, 3), at any size."""

    def __init__(self, robot: Robot, scene: Scene, *, camera: str, height: int, width: int) -> None:
        if min(height, width) < 1:
            raise ValueError(f"a picture needs at least one pixel each way, found {height}x{width}")
        self._robot, self._scene = robot, scene
        self._camera = robot.camera(camera)
        self._size = (width, height)
        self._ground = Ground(scene.table_shade)
        self._backdrop: Image.Image | None = None

    def frames(self, trajectory: Trajectory) -> Iterator[npt.NDArray[np.uint8]]:
        """One picture per step."""
        for start in range(0, len(trajectory), _BATCH):
            part = trajectory.between(start, start + _BATCH)
            solids = solids_of(self._robot, self._scene, part)
            width, height = self._size
            view = view_of(self._robot, self._camera, solids, height=height, width=width)
            paint = _polygons(solids, view)
            inks = [[ink(shade(colour, light)) for _, _, light in _CAPSULE_LAYERS] for colour in solids.capsule_colours]
            plate_inks = [(ink(shade(c, 0.72)), ink(c), ink(shade(c, 0.9))) for c in solids.plate_colours]
            for step, image in zip(range(len(part)), self._backgrounds(view), strict=False):
                self._draw(ImageDraw.Draw(image), paint, step, inks=inks, plate_inks=plate_inks)
                yield np.array(image)

    def _backgrounds(self, view: View) -> Iterator[Image.Image]:
        """The room and the bare table, for one step after the other; drawn once for a fixed camera."""
        if self._camera.mount is not None or self._robot.base is not None:
            yield from self._ground.pictures(view, self._size)
            return
        if self._backdrop is None:
            self._backdrop = next(self._ground.pictures(view, self._size))
        while True:
            yield self._backdrop.copy()

    def _draw(
        self,
        draw: ImageDraw.ImageDraw,
        paint: _Paint,
        step: int,
        *,
        inks: list[list[int]],
        plate_inks: list[tuple[int, int, int]],
    ) -> None:
        polygon = draw.polygon
        shadow_ink = self._ground.shadow_ink
        for layers, layer_inks in zip(paint.plates[step], plate_inks, strict=True):
            for outline, fill in zip(layers, layer_inks, strict=True):
                polygon(outline, fill)
        for outline in paint.shadows[step]:
            polygon(outline, shadow_ink)
        capsules, faces, face_inks = paint.capsules[step], paint.faces[step], paint.face_inks[step]
        for item in paint.order[step]:
            if item < len(capsules):
                for outline, fill in zip(capsules[item], inks[item], strict=True):
                    polygon(outline, fill)
            else:
                box = item - len(capsules)
                for outline, fill in zip(faces[box], face_inks[box], strict=True):
                    if fill >= 0:
                        polygon(outline, fill)


def _polygons(solids: Solids, view: View) -> _Paint:
    """All outlines of a batch in pixels, and the order to paint the solids in."""
    capsules, capsule_depth_TC = _capsules(solids, view)
    corners = solids.box_corners()
    seen = view.to_camera(corners)
    faces = view.to_pixels(seen)[:, :, np.array(BOX_FACES)]
    box_depth_TX = seen[..., 2].mean(-1)
    box_depth_TX = np.where(seen[..., 2].max(-1) < NEAR_M, _HIDDEN_DEPTH_M, box_depth_TX)
    depth_TI = np.concatenate([capsule_depth_TC, box_depth_TX], 1)
    order_TI = np.argsort(-depth_TI, axis=1, kind="stable")
    num_shown_T = (depth_TI > 0).sum(1)
    order = [row[:shown] for row, shown in zip(order_TI.tolist(), num_shown_T.tolist(), strict=True)]
    return _Paint(
        order=order,
        capsules=_flat(capsules),
        faces=_flat(faces),
        face_inks=box_inks(solids, corners, view).tolist(),
        plates=_flat(_plates(solids, view)),
        shadows=_flat(_shadows(solids, view)[None])[0],
    )


def _flat(outlines: Floats) -> list[list[list[Polygon]]]:
    """Nested lists with each (K, 2) outline as x, y, x, y, …, which is what Pillow reads fastest."""
    nested: list[list[list[Polygon]]] = outlines.reshape(*outlines.shape[:-2], -1).tolist()
    return nested


def _capsules(solids: Solids, view: View) -> tuple[Floats, Floats]:
    """Outlines (T, C, layers, K, 2) in pixels and depths (T, C) in metres of the capsules."""
    seen = view.to_camera(solids.capsule_end_TC23)
    first, second = seen[..., 0, :], seen[..., 1, :]
    # The part behind the camera is cut off at the near plane.
    run = second[..., 2] - first[..., 2]
    run = np.where(np.abs(run) < 1e-9, 1e-9, run)
    share = np.clip((NEAR_M - first[..., 2]) / run, 0, 1)[..., None]
    cut = first + share * (second - first)
    first_cut = np.where(first[..., 2:] < NEAR_M, cut, first)
    second_cut = np.where(second[..., 2:] < NEAR_M, cut, second)
    ends = np.stack([first_cut, second_cut], -2)
    depth_TC = ends[..., 2].mean(-1)
    depth_TC = np.where((first[..., 2] < NEAR_M) & (second[..., 2] < NEAR_M), _HIDDEN_DEPTH_M, depth_TC)
    centre_TC22 = view.to_pixels(ends)
    radius_TC2 = solids.capsule_radius_C[:, None] * view.focal_px / np.maximum(ends[..., 2], NEAR_M * 2)
    along = centre_TC22[..., 1, :] - centre_TC22[..., 0, :]
    heading_TC = np.arctan2(along[..., 1], along[..., 0])
    swing = np.linspace(-np.pi / 2, np.pi / 2, _ARC_POINTS)
    angle_TC2a = heading_TC[..., None, None] + np.stack([swing + np.pi, swing])
    arc_TC2a2 = np.stack([np.cos(angle_TC2a), np.sin(angle_TC2a)], -1)
    layers = []
    for share_of_radius, shift, _ in _CAPSULE_LAYERS:
        centre = centre_TC22 + radius_TC2[..., None] * (shift * _LIGHT_PX)
        rim = centre[..., None, :] + arc_TC2a2 * (radius_TC2 * share_of_radius)[..., None, None]
        layers.append(rim.reshape(*rim.shape[:2], -1, 2))
    return np.stack(layers, 2), depth_TC


def _plates(solids: Solids, view: View) -> Floats:
    """Edge, top and inner ring of each plate: (T, P, 3, K, 2)."""
    rim = solids.plate_rim_TPN3
    centre = rim.mean(2, keepdims=True)
    edge = rim * (1, 1, 0)
    inner = centre + (rim - centre) * _INNER_PLATE_SHARE
    return view.to_pixels(view.to_camera(np.stack([edge, rim, inner], 2)))


def _shadows(solids: Solids, view: View) -> Floats:
    """Dark octagons on the table under boxes, shifted with height away from the light: (T, X, K, 2)."""
    angle_K = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    ring_K3 = np.stack([np.cos(angle_K), np.sin(angle_K), np.zeros(8)], -1)
    height = solids.box_centre_TX3[..., 2:]
    foot = solids.box_centre_TX3 * (1, 1, 0) + height * (0.12, -0.12, 0)
    radius_X = np.sort(solids.box_half_X3, 1)[:, :2].sum(1) * _SHADOW_SHARE
    return view.to_pixels(view.to_camera(foot[:, :, None] + ring_K3 * radius_X[:, None, None]))
