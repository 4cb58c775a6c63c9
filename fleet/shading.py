"""Colours under one lamp: how bright a face is, as the integers Pillow paints with.

Legend: T steps, X boxes, F faces of a box.
"""

import numpy as np
import numpy.typing as npt

from fleet.arms import Colour
from fleet.kinematics import Floats
from fleet.solids import BOX_FACES, Solids
from fleet.view import View

_LAMP = np.array([-0.35, 0.45, 0.82])
_AMBIENT = 0.62
_DIFFUSE = 0.42


def shade(colour: Colour, brightness: float) -> Colour:
    """A colour made darker or lighter, within 0 to 255."""
    red, green, blue = (min(255, int(channel * brightness)) for channel in colour)
    return red, green, blue


def ink(colour: Colour) -> int:
    """The colour as the integer Pillow's RGB images take: red in the lowest byte."""
    return colour[0] | colour[1] << 8 | colour[2] << 16


def box_inks(solids: Solids, corner_TX83: Floats, view: View) -> npt.NDArray[np.int64]:
    """Ink of each face of each box, -1 where it is turned away from the camera: (T, X, F)."""
    axes = solids.box_axes_TX33.swapaxes(-1, -2)
    normal_TXF3 = np.stack([-axes[..., 0, :], axes[..., 0, :], -axes[..., 1, :], axes[..., 1, :]], -2)
    normal_TXF3 = np.concatenate([normal_TXF3, -axes[..., 2:, :], axes[..., 2:, :]], -2)
    on_face_TXF3 = corner_TX83[:, :, [face[0] for face in BOX_FACES]]
    to_face = on_face_TXF3 - view.eye_T3[:, None, None]
    is_turned_away = np.einsum("txfd,txfd->txf", to_face, normal_TXF3) >= 0
    brightness_TXF = _AMBIENT + _DIFFUSE * np.maximum(normal_TXF3 @ _LAMP, 0.0)
    colour_X3 = np.array(solids.box_colours, float)
    level = np.minimum(brightness_TXF[..., None] * colour_X3[:, None], 255).astype(np.int64)
    inks = level[..., 0] | level[..., 1] << 8 | level[..., 2] << 16
    return np.where(is_turned_away, -1, inks)
