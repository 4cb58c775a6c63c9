from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from fleet.episode import REST_S, simulate
from fleet.job import is_done, spot
from fleet.robots import ROBOTS
from fleet.tasks import TASKS
from fleet.world import World

NUM_EPISODES = 6
THREE_TASKS = ("bimanual_trossen", "ur5e")
EVERY_EPISODE = [(name, index) for name in ROBOTS for index in range(NUM_EPISODES if name in THREE_TASKS else 2)]
PI0 = [name for name in ROBOTS if name != "widowx"]


@cache
def _episode(name, index):
    return simulate(ROBOTS[name], seed=3, index=index)


@pytest.mark.parametrize(("name", "index"), EVERY_EPISODE)
def test_a_scripted_episode_succeeds(name, index):
    assert _episode(name, index).success


@pytest.mark.parametrize(("name", "index"), EVERY_EPISODE)
def test_an_episode_lasts_a_few_seconds(name, index):
    episode = _episode(name, index)

    assert 3.0 < len(episode) / episode.robot.rate_hz < 10.0


@pytest.mark.parametrize(("name", "index"), EVERY_EPISODE)
def test_an_episode_ends_in_half_a_second_of_rest(name, index):
    episode = _episode(name, index)
    rest = round(REST_S * episode.robot.rate_hz)

    assert np.ptp(episode.action_TD[-rest:], axis=0).max() == 0
    assert np.ptp(episode.state_TD[-rest:], axis=0).max() < 2e-3
    width = episode.state_TD.shape[1]
    np.testing.assert_allclose(episode.state_TD[-1], episode.action_TD[-1, :width], atol=1e-3)
    assert not episode.action_TD[-1, width:].any()


@pytest.mark.parametrize(("name", "index"), EVERY_EPISODE)
def test_the_state_lags_the_action_but_follows_it(name, index):
    episode = _episode(name, index)
    grippers = [episode.robot.gripper_of(arm) for arm in range(len(episode.robot.mounts))]

    lag = np.delete(np.abs(episode.action_TD[:, : episode.state_TD.shape[1]] - episode.state_TD), grippers, axis=1)

    assert 0.01 < lag.max() < 0.6


@pytest.mark.parametrize("name", THREE_TASKS)
def test_half_of_the_episodes_are_perturbed(name):
    flags = [_episode(name, index).is_perturbed for index in range(NUM_EPISODES)]

    assert sum(flags) == NUM_EPISODES / 2


@pytest.mark.parametrize("name", ROBOTS)
def test_a_perturbation_moves_something_no_command_asked_for(name):
    """Replaying the recorded commands in an undisturbed world leads elsewhere."""
    episode = _episode(name, 1)
    world = World(episode.robot, episode.scene)
    states, plates, blocks = [], [], []
    for action in episode.action_TD:
        states.append(world.state())
        plates.append(world.bodies.plate_P3.copy())
        blocks.append(world.bodies.position_B3.copy())
        world.step(action)

    apart = [
        np.abs(np.array(states) - episode.trajectory.state_TD).max(),
        np.abs(np.array(plates) - episode.trajectory.plate_position_TP3).max(),
        np.abs(np.array(blocks) - episode.trajectory.block_position_TB3).max(),
    ]

    assert max(apart) > 0.02


@pytest.mark.parametrize("name", ROBOTS)
def test_replaying_an_undisturbed_episode_reaches_the_same_states(name):
    episode = _episode(name, 0)
    world = World(episode.robot, episode.scene)
    states = []
    for action in episode.action_TD:
        states.append(world.state())
        world.step(action)

    np.testing.assert_allclose(np.array(states), episode.trajectory.state_TD, atol=1e-4)


def test_the_seven_robots_of_pi0_have_68_tasks_between_them():
    pairs = {(name, task) for name in PI0 for task in ROBOTS[name].tasks}

    assert len(PI0) == 7
    assert len(pairs) == 68


@pytest.mark.parametrize("name", THREE_TASKS)
def test_successive_episodes_take_a_robot_s_tasks_in_turn(name):
    robot = ROBOTS[name]

    tasks = [_episode(name, index).task for index in range(NUM_EPISODES)]

    assert tasks == [robot.tasks[index % len(robot.tasks)] for index in range(NUM_EPISODES)]


@pytest.mark.parametrize("name", ROBOTS)
def test_a_robot_s_tasks_have_instructions_of_their_own(name):
    robot = ROBOTS[name]

    told = {}
    for task in robot.tasks:
        job = TASKS[task].setup(robot, np.random.default_rng(4))
        colours = {*job.scene.block_colours, *job.scene.plate_colours}
        told[task] = " ".join("some" if word.rstrip(",") in colours else word for word in job.instruction.split())
        assert job.scene.block_colours[0] in job.instruction

    families = {text.replace("with the right arm", "").replace("with the left arm", "") for text in told.values()}
    assert len(families) == len(robot.tasks)


@pytest.mark.parametrize(("name", "task"), [(name, task) for name in ROBOTS for task in ROBOTS[name].tasks])
def test_every_task_succeeds_undisturbed(name, task):
    robot = replace(ROBOTS[name], tasks=(task,))

    episode = simulate(robot, seed=7, index=0)

    assert episode.success
    assert not episode.is_perturbed


@pytest.mark.parametrize("name", ROBOTS)
def test_numbers_stay_within_joint_limits_and_grippers_within_one(name):
    episode = _episode(name, 1)

    for arm, mount in enumerate(episode.robot.mounts):
        for values in (episode.state_TD, episode.action_TD):
            joints, gripper = values[:, episode.robot.joints_of(arm)], values[:, episode.robot.gripper_of(arm)]
            assert np.all(joints >= mount.arm.chain.limit_J2[:, 0] - 1e-5)
            assert np.all(joints <= mount.arm.chain.limit_J2[:, 1] + 1e-5)
            assert gripper.min() >= 0
            assert gripper.max() <= 1


@pytest.mark.parametrize("name", ["mobile_trossen", "mobile_fibocom"])
def test_a_base_drives_up_within_its_speed_and_its_velocities_are_in_the_action(name):
    episode = _episode(name, 0)
    base = episode.robot.base
    place = episode.trajectory.place_T3
    commanded = episode.action_TD[:, episode.state_TD.shape[1] :]

    assert commanded.shape[1] == len(base.names)
    assert np.hypot(*place[0, :2]) > 0.1
    assert np.hypot(*place[-1, :2]) < 0.03
    assert abs(place[-1, 2]) < 0.03
    assert np.abs(commanded[:, 0]).max() > 0.1
    assert np.hypot(*np.diff(place[:, :2], axis=0).T).max() * episode.robot.rate_hz < base.speed_m_s * 1.5


def test_a_base_that_cannot_move_sideways_does_not():
    episode = _episode("mobile_trossen", 0)
    place = episode.trajectory.place_T3

    step, yaw = np.diff(place[:, :2], axis=0), place[:-1, 2] + np.diff(place[:, 2]) / 2
    sideways = step[:, 1] * np.cos(yaw) - step[:, 0] * np.sin(yaw)

    np.testing.assert_allclose(sideways, 0, atol=1e-9)


@pytest.mark.parametrize("name", ROBOTS)
def test_a_scene_has_distractors_and_no_colour_twice(name):
    scene = _episode(name, 0).scene

    colours = scene.block_colours + scene.plate_colours
    assert (len(scene.block_colours), len(scene.plate_colours)) == (3, 2)
    assert len(set(colours)) == len(colours)


@pytest.mark.parametrize("name", ROBOTS)
def test_a_fresh_scene_is_not_done_and_one_with_the_blocks_in_place_is(name):
    robot = ROBOTS[name]
    for task in robot.tasks:
        job = TASKS[task].setup(robot, np.random.default_rng(0))
        world = World(robot, job.scene)
        assert not is_done(world, job)
        for block, target in job.moves.items():
            world.bodies.position_B3[block] = spot(world, target)
        assert is_done(world, job)


def test_episodes_of_other_seeds_differ():
    first, second = (simulate(ROBOTS["ur5e"], seed=seed, index=0) for seed in (1, 2))

    assert not np.array_equal(first.scene.block_xy_B2, second.scene.block_xy_B2)
