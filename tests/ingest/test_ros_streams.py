"""Streams of ROS messages, whatever the definitions that a bag brings with it."""

from dataclasses import dataclass, make_dataclass
from typing import Any

import numpy as np
import pytest

from ingest.formats.ros_streams import Message, collect, picture_of
from schema.errors import EpisodeError


def one(**fields: Any) -> Any:
    """A message with these fields."""
    return make_dataclass("One", fields)(**fields)


def test_a_message_that_is_not_what_its_kind_says_is_taken_field_by_field():
    @dataclass
    class Other:
        position: list[float]

    sent = [
        Message(topic="/joints", kind="sensor_msgs/msg/JointState", log_ns=n, value=Other([1.0, n])) for n in (1, 2)
    ]

    (found,) = collect(sent).fields.values()

    np.testing.assert_array_equal(found, [[1, 1], [1, 2]])


@pytest.mark.parametrize(
    ("kind", "value", "fields"),
    [
        ("JointState", one(name="a", position=1.0, velocity=2.0, effort=3.0), 3),
        ("JointState", one(name=7, position=[1.0], velocity=[], effort=[]), 2),
        ("JointState", one(name=["a"], position=one(x=1.0), velocity=[], effort=[]), 1),
        ("JointState", one(name=[["a"]], position=[1.0], velocity=[], effort=[]), 1),
        ("JointTrajectory", one(joint_names=["a"], points=[one(other=[1.0])]), 0),
        ("JointTrajectory", one(joint_names=["a"], points=one(positions=[1.0])), 1),
        ("JointTrajectory", one(points=[]), 0),
    ],
)
def test_fields_of_other_types_than_their_kind_has_are_taken_as_they_come(kind, value, fields):
    sent = [Message(topic="/joints", kind=f"my_msgs/msg/{kind}", log_ns=n, value=value) for n in (1, 2)]

    assert len(collect(sent).fields) == fields


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("CompressedImage", one(format="jpeg")),
        ("Image", one(encoding="rgb8", data=b"abc")),
        ("Image", one(encoding="rgb8", height=one(a=1), width=1, step=3, data=b"abc")),
    ],
)
def test_a_picture_that_is_not_what_its_kind_says_is_refused_with_its_topic(kind, value):
    with pytest.raises(EpisodeError, match="/camera") as caught:
        picture_of(Message(topic="/camera", kind=f"my_msgs/msg/{kind}", log_ns=1, value=value))

    assert caught.value.reason == "bad_picture"
