"""Streams of ROS messages, whatever the definitions that a bag brings with it."""

from dataclasses import dataclass

import numpy as np

from ingest.formats.ros_streams import Message, collect


def test_a_message_that_is_not_what_its_kind_says_is_taken_field_by_field():
    @dataclass
    class Other:
        position: list[float]

    sent = [
        Message(topic="/joints", kind="sensor_msgs/msg/JointState", log_ns=n, value=Other([1.0, n])) for n in (1, 2)
    ]

    (found,) = collect(sent).fields.values()

    np.testing.assert_array_equal(found, [[1, 1], [1, 2]])
