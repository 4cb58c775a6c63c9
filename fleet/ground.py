"""The room: wall, floor and the table top with its grid, cut at the camera's near plane."""

import numpy as np
from PIL import Image, ImageDraw

from fleet.arms import Colour
from fleet.kinematics import Floats
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

    def picture(self, view: View, step: int, size: tuple[int, int]) -> Image.Image:
        """The bare room from a camera at one step; size is (width, height)."""
        image = Image.new("RGB", size, self._wall)
        polygon = ImageDraw.Draw(image).polygon
        seen = (self._corners - view.eye_T3[step]) @ view.rotation_T33[step].T
        is_in_front = (seen[..., 2] >= NEAR_M).all(-1).tolist()
        pixels = view.to_pixels(seen).reshape(len(seen), -1).tolist()
        for k, (*_, fill) in enumerate(self._rects):
            if is_in_front[k]:
                polygon(pixels[k], fill)
            else:
                cut = _cut_at_near(seen[k])
                if len(cut) >= 3:
                    polygon(view.to_pixels(np.array(cut)).ravel().tolist(), fill)
        return image


def _cut_at_near(corners: Floats) -> list[Floats]:
    """The part of a convex polygon in camera coordinates that lies beyond the near plane."""
    kept: list[Floats] = []
    for k in range(len(corners)):
        a, b = corners[k - 1], corners[k]
        if (a[2] < NEAR_M) != (b[2] < NEAR_M):
            kept.append(a + (NEAR_M - a[2]) / (b[2] - a[2]) * (b - a))
        if b[2] >= NEAR_M:
            kept.append(b)
    return kept
