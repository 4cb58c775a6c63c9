from functools import cache

import numpy as np
import pytest

from fleet.episode import REST_S, simulate
from fleet.job import is_done, spot
from fleet.robots import ROBOTS
from fleet.tasks import TASKS
from fleet.world import World

NUM_EPISODES = 6
EVERY_EPISODE = [(name, index) for name in ROBOTS for index in range(NUM_EPISODES)]


@cache
def _episode(name, index):
    return simulate(ROBOTS[name], seed=3, index=index)


@pytest.mark.parametrize(("name", "index"), EVERY_EPISODE)
def test_a_scripted_episode_succeeds(name, index):
    assert _episode(name, index).success


@pytest.mark.parametrize(("name", "index"), EVERY_EPISODE)
def test_an_episode_lasts_a_few_seconds(name, index):
    episode = _episode(name, index)

    assert 3.0 < len(episode) / episode.robot.rate_hz < 9.0


@pytest.mark.parametrize(("name", "index"), EVERY_EPISODE)
def test_an_episode_ends_in_half_a_second_of_rest(name, index):
    episode = _episode(name, index)
    rest = round(REST_S * episode.robot.rate_hz)

    assert np.ptp(episode.action_TD[-rest:], axis=0).max() == 0
    assert np.ptp(episode.state_TD[-rest:], axis=0).max() < 2e-3
    np.testing.assert_allclose(episode.state_TD[-1], episode.action_TD[-1], atol=1e-3)


@pytest.mark.parametrize(("name", "index"), EVERY_EPISODE)
def test_the_state_lags_the_action_but_follows_it(name, index):
    episode = _episode(name, index)
    grippers = [episode.robot.gripper_of(arm) for arm in range(len(episode.robot.mounts))]

    lag = np.delete(np.abs(episode.action_TD - episode.state_TD), grippers, axis=1)

    assert 0.01 < lag.max() < 0.6


@pytest.mark.parametrize("name", ROBOTS)
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


@pytest.mark.parametrize("name", ROBOTS)
def test_a_robot_has_three_tasks_and_instructions_that_name_the_colours(name):
    episodes = [_episode(name, index) for index in range(NUM_EPISODES)]

    assert len({episode.task for episode in episodes}) == 3
    assert all(episode.scene.block_colours[0] in episode.instruction for episode in episodes)
    assert len({episode.instruction for episode in episodes}) == NUM_EPISODES


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
