"""Rotations between two samples: the shortest arc, on the unit sphere, the same turn in every form."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ingest.slerp import interpolate, slerp

quaternions = hnp.arrays(np.float64, (4, 4), elements=st.floats(-1, 1)).filter(
    lambda q: bool((np.linalg.norm(q, axis=1) > 0.1).all())
)
weights = hnp.arrays(np.float64, 4, elements=st.floats(0, 1))


@settings(deadline=None)
@given(before=quaternions, after=quaternions, weight=weights)
def test_slerp_stays_on_the_unit_sphere_between_its_ends(before, after, weight):
    between = slerp(before, after, weight)
    ends = [slerp(before, after, np.full(4, end)) for end in (0.0, 1.0)]

    np.testing.assert_allclose(np.linalg.norm(between, axis=1), 1, atol=1e-12)
    whole, part = (np.abs(np.sum(ends[0] * other, axis=1)) for other in (ends[1], between))
    assert (part >= whole - 1e-9).all()


FORMS = {
    "quaternion_wxyz": lambda a: np.stack([np.cos(a / 2), 0 * a, 0 * a, np.sin(a / 2)], axis=1),
    "rotation_vector": lambda a: np.stack([0 * a, 0 * a, a], axis=1),
    "euler_xyz": lambda a: np.stack([0 * a, 0 * a, a], axis=1),
    "matrix_6d": lambda a: np.stack([np.cos(a), -np.sin(a), 0 * a, np.sin(a), np.cos(a), 0 * a], axis=1),
}


@settings(deadline=None)
@given(angle=hnp.arrays(np.float64, 5, elements=st.floats(-3, 3)), step=st.floats(-3, 3), weight=st.floats(0, 1))
@pytest.mark.parametrize("form", FORMS)
def test_a_turn_about_one_axis_is_interpolated_by_its_angle_in_every_form(form, angle, step, weight):
    write = FORMS[form]
    way = angle + weight * step

    found = interpolate(write(angle), write(angle + step), np.full(5, weight), form=form)

    if form == "quaternion_wxyz":
        found = found * np.sign(np.sum(found * write(way), axis=1, keepdims=True))
    elif form != "matrix_6d":
        found = np.unwrap(np.stack([write(way), found]), axis=0)[1]
    np.testing.assert_allclose(found, write(way), atol=1e-6)
