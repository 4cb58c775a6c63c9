"""Rotations between two samples, in any form that a signal may have: by the shortest arc on unit quaternions.

Quaternions here are `[x, y, z, w]`. Euler angles turn about the fixed x, then y, then z axis; `matrix_6d` is the first
two rows of the matrix.
"""
# Legend: T frames, D the width of the form.

from collections.abc import Callable

import numpy as np

from ingest.doubles import Doubles
from ingest.rotation_transforms import matrix_to_euler, unit_to_matrix
from schema.embodiment import Rotation

_NEARLY_PARALLEL = 1 - 1e-10
"""Cosine of half the angle above which a chord is as good as the arc, and steadier."""


def interpolate(before_TD: Doubles, after_TD: Doubles, weight_T: Doubles, *, form: Rotation) -> Doubles:
    """The rotation `weight_T` of the way from one to the other, in the same form; the quaternions are unit ones."""
    to_quaternions, from_quaternions = _FORMS[form]
    return from_quaternions(slerp(to_quaternions(before_TD), to_quaternions(after_TD), weight_T))


def slerp(before_T4: Doubles, after_T4: Doubles, weight_T: Doubles) -> Doubles:
    """Unit quaternions between two; of the two ways round the shorter one. A zero quaternion gives NaN."""
    before_T4, after_T4 = _unit(before_T4), _unit(after_T4)
    cosine_T = np.sum(before_T4 * after_T4, axis=1)
    after_T4 = np.where(cosine_T[:, None] < 0, -after_T4, after_T4)
    cosine_T = np.minimum(np.abs(cosine_T), 1)
    angle_T = np.where(cosine_T > _NEARLY_PARALLEL, 1.0, np.arccos(cosine_T))
    sine_T = np.sin(angle_T)
    is_chord_T = cosine_T > _NEARLY_PARALLEL
    first_T = np.where(is_chord_T, 1 - weight_T, np.sin((1 - weight_T) * angle_T) / sine_T)
    second_T = np.where(is_chord_T, weight_T, np.sin(weight_T * angle_T) / sine_T)
    return _unit(first_T[:, None] * before_T4 + second_T[:, None] * after_T4)


def _unit(values_TD: Doubles) -> Doubles:
    norm_T1 = np.linalg.norm(values_TD, axis=1, keepdims=True)
    return values_TD / np.where(norm_T1 > 0, norm_T1, np.nan)


def _from_vector(vector_T3: Doubles) -> Doubles:
    angle_T1 = np.linalg.norm(vector_T3, axis=1, keepdims=True)
    return np.concatenate([vector_T3 * (0.5 * np.sinc(angle_T1 / (2 * np.pi))), np.cos(angle_T1 / 2)], axis=1)


def _to_vector(quaternion_T4: Doubles) -> Doubles:
    quaternion_T4 = np.where(quaternion_T4[:, 3:] < 0, -quaternion_T4, quaternion_T4)
    sine_T1 = np.linalg.norm(quaternion_T4[:, :3], axis=1, keepdims=True)
    angle_T1 = 2 * np.arctan2(sine_T1, quaternion_T4[:, 3:])
    scale_T1 = np.where(sine_T1 > 1e-12, angle_T1 / np.maximum(sine_T1, 1e-12), 2.0)
    scaled: Doubles = quaternion_T4[:, :3] * scale_T1
    return scaled


def _from_euler(angles_T3: Doubles) -> Doubles:
    sx, sy, sz = np.sin(angles_T3 / 2).T
    cx, cy, cz = np.cos(angles_T3 / 2).T
    x, y = sx * cy * cz - cx * sy * sz, cx * sy * cz + sx * cy * sz
    z, w = cx * cy * sz - sx * sy * cz, cx * cy * cz + sx * sy * sz
    return np.stack([x, y, z, w], axis=1)


def _to_euler(quaternion_T4: Doubles) -> Doubles:
    return matrix_to_euler(unit_to_matrix(quaternion_T4))


def _from_rows(rows_T6: Doubles) -> Doubles:
    first_T3 = _unit(rows_T6[:, :3])
    second_T3 = rows_T6[:, 3:]
    second_T3 = _unit(second_T3 - np.sum(first_T3 * second_T3, axis=1, keepdims=True) * first_T3)
    m = np.stack([first_T3, second_T3, np.cross(first_T3, second_T3)], axis=1)
    # The component that is largest is safe to divide by; which one it is differs from frame to frame.
    diagonal_T3 = np.stack([m[:, 0, 0], m[:, 1, 1], m[:, 2, 2]], axis=1)
    trace_T1 = diagonal_T3.sum(axis=1, keepdims=True)
    squares_T4 = np.concatenate([1 + 2 * diagonal_T3 - trace_T1, 1 + trace_T1], axis=1)
    x, y, z = m[:, 2, 1] - m[:, 1, 2], m[:, 0, 2] - m[:, 2, 0], m[:, 1, 0] - m[:, 0, 1]
    xy, xz, yz = m[:, 1, 0] + m[:, 0, 1], m[:, 0, 2] + m[:, 2, 0], m[:, 2, 1] + m[:, 1, 2]
    columns = [
        [squares_T4[:, 0], xy, xz, x],
        [xy, squares_T4[:, 1], yz, y],
        [xz, yz, squares_T4[:, 2], z],
        [x, y, z, squares_T4[:, 3]],
    ]
    candidates_T44 = np.stack([np.stack(column, axis=1) for column in columns], axis=1)
    largest_T = np.argmax(np.nan_to_num(squares_T4), axis=1)
    return _unit(candidates_T44[np.arange(len(largest_T)), largest_T])


def _to_rows(quaternion_T4: Doubles) -> Doubles:
    return unit_to_matrix(quaternion_T4)[:, :2].reshape(-1, 6)


def _turned(quaternion_T4: Doubles) -> Doubles:
    return np.roll(quaternion_T4, -1, axis=1)


def _turned_back(quaternion_T4: Doubles) -> Doubles:
    return np.roll(quaternion_T4, 1, axis=1)


def _as_it_is(quaternion_T4: Doubles) -> Doubles:
    return quaternion_T4


_FORMS: dict[Rotation, tuple[Callable[[Doubles], Doubles], Callable[[Doubles], Doubles]]] = {
    "quaternion_xyzw": (_as_it_is, _as_it_is),
    "quaternion_wxyz": (_turned, _turned_back),
    "rotation_vector": (_from_vector, _to_vector),
    "euler_xyz": (_from_euler, _to_euler),
    "matrix_6d": (_from_rows, _to_rows),
}
"""Each form's way to unit quaternions and back."""
