import numpy as np
import pytest

from fleet.episode import job_of, random_of
from fleet.renderer import Renderer
from fleet.robots import ROBOTS, UR5E_TABLETOP
from fleet.scene import COLOURS
from fleet.trajectory import join
from fleet.world import Nudge, World

EVERY_CAMERA = [(robot.name, camera.name) for robot in ROBOTS.values() for camera in robot.cameras]


def _world(robot, index, *, image_size=224):
    _, job = job_of(robot, random_of(robot, 11, index), index=index)
    return World(robot, job.scene, image_size=image_size), job


def _pixels_of(picture, colour):
    """How many pixels have a colour's hue, whatever the light."""
    hue = picture / np.maximum(picture.max(-1, keepdims=True), 1.0)
    wanted = np.array(COLOURS[colour]) / max(COLOURS[colour])
    return int((np.abs(hue - wanted).max(-1) < 0.06).sum())


@pytest.mark.parametrize("robot", ROBOTS.values(), ids=lambda robot: robot.name)
@pytest.mark.parametrize("index", range(6))
def test_instructed_blocks_are_visible_in_the_first_base_picture(robot, index):
    world, job = _world(robot, index)

    picture = world.observe("base")

    counts = [_pixels_of(picture, job.scene.block_colours[block]) for block in job.moves]
    assert min(counts) > 60, job.instruction


@pytest.mark.parametrize(("height", "width"), [(64, 64), (480, 640), (7, 3)])
@pytest.mark.parametrize(("robot", "camera"), EVERY_CAMERA)
def test_pictures_come_at_any_size(robot, camera, height, width):
    world, job = _world(ROBOTS[robot], 0)

    picture = next(
        Renderer(ROBOTS[robot], job.scene, camera=camera, height=height, width=width).frames(world.snapshot())
    )

    assert picture.shape == (height, width, 3)
    assert picture.dtype == np.uint8


@pytest.mark.parametrize("robot", ROBOTS.values(), ids=lambda robot: robot.name)
def test_each_wrist_camera_moves_with_its_own_arm_only(robot):
    world, _ = _world(robot, 0, image_size=64)
    wrists = [camera for camera in robot.cameras if camera.mount is not None]
    # The lower half holds no arm, so that only the camera's own motion changes it.
    before = [world.observe(camera.name)[48:].astype(int) for camera in wrists]

    for _ in range(4):
        world.disturb([Nudge(arm=0, delta_m=(0.02, 0.0, 0.0))])

    changes = [np.abs(world.observe(c.name)[48:] - was).mean() for c, was in zip(wrists, before, strict=True)]
    assert changes[0] > 1.0
    assert all(change < 0.5 * changes[0] for change in changes[1:])


@pytest.mark.parametrize("camera", ["base", "left_wrist"])
def test_fingers_visibly_close(camera):
    world, _ = _world(UR5E_TABLETOP, 0)
    before = world.observe(camera).astype(int)
    command = world.state()
    command[6] = 1.0

    for _ in range(20):
        world.step(command)

    changed = np.abs(world.observe(camera) - before).max(-1) > 30
    assert changed.sum() > 100


def test_a_picture_of_many_steps_equals_each_step_alone():
    world, job = _world(UR5E_TABLETOP, 0)
    renderer = Renderer(UR5E_TABLETOP, job.scene, camera="left_wrist", height=48, width=48)
    first = world.snapshot()
    world.disturb([Nudge(arm=0, delta_m=(0.0, 0.03, 0.0))])
    second = world.snapshot()

    together = list(renderer.frames(join([first, second])))

    np.testing.assert_array_equal(together[0], next(renderer.frames(first)))
    np.testing.assert_array_equal(together[1], next(renderer.frames(second)))


def test_an_unknown_camera_is_named_with_those_there_are():
    world, _ = _world(UR5E_TABLETOP, 0)

    with pytest.raises(KeyError, match="has no camera 'rear'; it has"):
        world.observe("rear")


def test_an_empty_picture_is_refused():
    _, job = _world(UR5E_TABLETOP, 0)

    with pytest.raises(ValueError, match="at least one pixel"):
        Renderer(UR5E_TABLETOP, job.scene, camera="base", height=0, width=9)
