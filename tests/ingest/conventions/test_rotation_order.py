"""Where w stands in a quaternion, told by another signal of the same turn, or by the signs of a driver."""

from dataclasses import replace

import pytest

from tests.ingest.conventions.logs import found_in
from tests.ingest.conventions.poses import kept_positive, robot, turning

CLAIMS = pytest.mark.parametrize(
    ("claimed", "status"), [("quaternion_xyzw", "agrees"), ("quaternion_wxyz", "contradicts")]
)


def order_found(claimed, *, has_turns, change=lambda episode: episode):
    table = robot(claimed, has_turns=has_turns)
    findings = found_in(change(turning(number, table=table)) for number in range(5))
    (found,) = [finding for finding in findings if finding.check == "rotation_order"]
    return found


@CLAIMS
def test_an_angular_velocity_tells_the_order(claimed, status):
    assert order_found(claimed, has_turns=True).status == status


@CLAIMS
def test_a_w_that_is_kept_positive_tells_the_order(claimed, status):
    assert order_found(claimed, has_turns=False, change=kept_positive).status == status


@CLAIMS
def test_a_smooth_quaternion_alone_tells_nothing(claimed, status):
    assert order_found(claimed, has_turns=False).status == "unsure"


def test_a_quaternion_that_is_not_of_norm_one_is_none():
    def doubled(episode):
        pose = episode.signals["state.eef_rotation"]
        return replace(episode, signals={**episode.signals, "state.eef_rotation": 2 * pose})

    found = order_found("quaternion_xyzw", has_turns=True, change=doubled)

    assert (found.status, found.message.startswith("the table says quaternion_xyzw: norms are off")) == (
        "contradicts",
        True,
    )
