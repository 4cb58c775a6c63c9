"""The room: wall, floor and the table top with its grid, cut at the camera's near plane."""

from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw

from fleet.arms import Colour
from fleet.shading import ink, shade
from fleet.view import NEAR_M, View

_WALL: Colour = (150, 160, 170)
_TABLE: Colour = (214, 202, 184)
_EDGE: Colour = (150, 138, 120)
_LINE: Colour = (190, 178, 160)
_SHADOW: Colour = (140, 130, 116)

_TABLE_X_M = (-0.45, 0.95)
_TABLE_Y_M = (-0.75, 0.75)
_GRID_M = 0.2
_LINE_HALF_M = 0.002
_RIM_M = 0.02
_FEWEST_CORNERS = 3


class Ground:
    """Paints what is behind everything else."""

    def __init__(self, table_shade: float) -> None:
        self.shadow_ink = ink(shade(_SHADOW, table_shade))
        self._wall = shade(_WALL, table_shade)
        self._rects = [(*_TABLE_X_M, *_TABLE_Y_M, ink(shade(_EDGE, table_shade)))]
        x, y = _TABLE_X_M, _TABLE_Y_M
        self._rects.append(
            (x[0] + _RIM_M, x[1] - _RIM_M, y[0] + _RIM_M, y[1] - _RIM_M, ink(shade(_TABLE, table_shade)))
        )
        line = ink(shade(_LINE, table_shade))
        for k in range(-3, 5):
            at = k * _GRID_M
            if x[0] + _RIM_M < at < x[1] - _RIM_M:
                self._rects.append((at - _LINE_HALF_M, at + _LINE_HALF_M, y[0] + _RIM_M, y[1] - _RIM_M, line))
            if y[0] + _RIM_M < at < y[1] - _RIM_M:
                self._rects.append((x[0] + _RIM_M, x[1] - _RIM_M, at - _LINE_HALF_M, at + _LINE_HALF_M, line))
        self._corners = np.array([[[a, c, 0], [b, c, 0], [b, d, 0], [a, d, 0]] for a, b, c, d, _ in self._rects], float)

    def pictures(self, view: View, size: tuple[int, int]) -> Iterator[Image.Image]:
        """The bare room from a camera, one picture per pose of the view; size is (width, height)."""
        seen = view.to_camera(np.broadcast_to(self._corners, (len(view.eye_T3), *self._corners.shape)))
        pixels = view.to_pixels(seen).reshape(*seen.shape[:2], -1).tolist()
        is_cut = np.any(seen[..., 2] < NEAR_M, axis=-1).tolist()
        for step, outlines in enumerate(pixels):
            image = Image.new("RGB", size, self._wall)
            polygon = ImageDraw.Draw(image).polygon
            for k, (*_, fill) in enumerate(self._rects):
                if not is_cut[step][k]:
                    polygon(outlines[k], fill)
                elif len(cut := _cut_at_near(seen[step, k].tolist())) >= _FEWEST_CORNERS:
                    polygon(view.to_pixels(np.array(cut)).ravel().tolist(), fill)
            yield image


def _cut_at_near(corners: list[list[float]]) -> list[list[float]]:
    """The part of a convex polygon in camera coordinates that lies beyond the near plane."""
    kept = []
    for k, b in enumerate(corners):
        a = corners[k - 1]
        if (a[2] < NEAR_M) != (b[2] < NEAR_M):
            share = (NEAR_M - a[2]) / (b[2] - a[2])
            kept.append([start + share * (end - start) for start, end in zip(a, b, strict=True)])
        if b[2] >= NEAR_M:
            kept.append(b)
    return kept
