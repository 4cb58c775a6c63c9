import numpy as np
import pytest

from fleet.episode import job_of, random_of
from fleet.kinematics import pose, turn
from fleet.physics import Bodies, Hand
from fleet.robots import BIMANUAL_TROSSEN, UR5E_TABLETOP
from fleet.scene import PLATE_HEIGHT_M, Scene
from fleet.world import Nudge, World

GRIPPER = UR5E_TABLETOP.mounts[0].arm.gripper
DOWN = turn((1, 0, 0), np.pi)


def _scene(*, blocks=((0.5, 0.0),), plates=((0.4, 0.2),)):
    return Scene(
        block_colours=("red", "green", "blue")[: len(blocks)],
        block_xy_B2=np.array(blocks),
        block_yaw_B=np.zeros(len(blocks)),
        block_size_m=0.05,
        plate_colours=("yellow",) * len(plates),
        plate_xy_P2=np.array(plates),
        plate_radius_m=0.075,
        table_shade=1.0,
    )


def _hand(position, width):
    return Hand(tool_44=pose(position, DOWN), width_m=width, model=GRIPPER)


def _grasped():
    bodies = Bodies(_scene())
    for width in (0.085, 0.06, 0.05):
        bodies.step([_hand((0.5, 0.0, 0.03), width)], 0.05)
    return bodies


@pytest.fixture
def world():
    _, job = job_of(UR5E_TABLETOP, random_of(UR5E_TABLETOP, 0, 0), index=0)
    return World(UR5E_TABLETOP, job.scene, image_size=32)


def test_a_new_world_is_at_home_with_open_grippers(world):
    np.testing.assert_allclose(world.state(), [*UR5E_TABLETOP.mounts[0].home_J, 0.0])


def test_reached_joints_lag_behind_the_command(world):
    start, command = world.state(), world.state() + 0.05

    world.step(command)

    np.testing.assert_allclose(world.state()[:6] - start[:6], world.servo_share * 0.05)
    assert 0.2 < world.servo_share < 0.8


def test_joint_limits_hold_whatever_is_commanded():
    _, job = job_of(BIMANUAL_TROSSEN, random_of(BIMANUAL_TROSSEN, 0, 0), index=0)
    world = World(BIMANUAL_TROSSEN, job.scene)

    for _ in range(120):
        world.step(np.full(14, 9.0))

    for arm, mount in enumerate(BIMANUAL_TROSSEN.mounts):
        assert np.all(world.state()[BIMANUAL_TROSSEN.joints_of(arm)] <= mount.arm.chain.limit_J2[:, 1] + 1e-9)
    assert world.state()[6] == pytest.approx(1.0)


@pytest.mark.parametrize("command", [np.zeros(6), np.full(7, np.nan)], ids=["width", "nan"])
def test_a_command_of_another_width_or_not_finite_is_refused(world, command):
    with pytest.raises(ValueError, match="takes a finite command of shape"):
        world.step(command)


def test_a_bump_moves_the_tool_by_so_many_metres(world):
    before = world.tool(0)[:3, 3]

    for _ in range(4):
        world.disturb([Nudge(arm=0, delta_m=(0.0, 0.01, 0.005))])

    np.testing.assert_allclose(world.tool(0)[:3, 3] - before, (0, 0.04, 0.02), atol=2e-3)


def test_a_shifted_plate_takes_along_what_lies_on_it():
    world = World(UR5E_TABLETOP, _scene(blocks=((0.41, 0.2), (0.6, -0.2))))

    world.disturb([Nudge(plate=0, delta_m=(0.05, 0.0, 0.0))])

    np.testing.assert_allclose(world.bodies.position_B3[:, :2], [[0.46, 0.2], [0.6, -0.2]])


def test_observing_does_not_change_the_world(world):
    before = world.snapshot()

    picture = world.observe("base")

    assert picture.shape == (32, 32, 3)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(world.snapshot().state_TD, before.state_TD)


def test_a_hand_that_closes_on_a_block_carries_it():
    bodies = _grasped()

    bodies.step([_hand((0.45, 0.1, 0.2), 0.05)], 0.05)

    assert bodies.held_by(0) == 0
    np.testing.assert_allclose(bodies.position_B3[0], (0.45, 0.1, 0.195), atol=1e-9)


def test_a_block_let_go_above_a_plate_comes_to_rest_on_it():
    bodies = _grasped()
    bodies.step([_hand((0.4, 0.2, 0.2), 0.05)], 0.05)

    for _ in range(8):
        bodies.step([_hand((0.4, 0.2, 0.2), 0.08)], 0.05)

    np.testing.assert_allclose(bodies.position_B3[0], (0.4, 0.2, 0.025 + PLATE_HEIGHT_M), atol=1e-9)
    assert bodies.grips == [{}]


def test_a_block_let_go_above_a_block_comes_to_rest_on_it():
    bodies = Bodies(_scene(blocks=((0.5, 0.0), (0.5, 0.2))))
    bodies.position_B3[0] = (0.505, 0.205, 0.15)

    for _ in range(8):
        bodies.step([], 0.05)

    np.testing.assert_allclose(bodies.position_B3[0, 2], 0.075)


def test_an_already_shut_hand_does_not_grasp():
    bodies = Bodies(_scene())

    for height in (0.2, 0.03):
        bodies.step([_hand((0.5, 0.0, height), 0.0)], 0.05)

    assert bodies.held_by(0) is None


def test_a_second_hand_keeps_a_block_that_the_first_lets_go():
    bodies = _grasped()
    for width in (0.085, 0.05):
        bodies.step([_hand((0.5, 0.0, 0.03), 0.05), _hand((0.5, 0.0, 0.03), width)], 0.05)
    assert bodies.held_by(1) == 0

    for _ in range(2):
        bodies.step([_hand((0.5, 0.0, 0.03), 0.08), _hand((0.5, 0.0, 0.3), 0.05)], 0.05)

    assert bodies.held_by(0) is None
    np.testing.assert_allclose(bodies.position_B3[0, 2], 0.295, atol=1e-6)


def test_nearly_closed_fingers_push_a_block_ahead_of_them():
    bodies = Bodies(_scene())

    for x in np.linspace(0.42, 0.55, 14):
        bodies.step([_hand((x, 0.0, 0.03), 0.03)], 0.05)

    assert bodies.position_B3[0, 0] == pytest.approx(0.55 + (0.05 + GRIPPER.finger_width_m) / 2, abs=2e-3)
    assert bodies.position_B3[0, 1] == pytest.approx(0.0, abs=1e-9)
