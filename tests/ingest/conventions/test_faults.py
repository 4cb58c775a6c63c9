"""Every planted fault of convention is found in the logs of the simulated fleet, and nothing is in sound ones."""

from functools import cache
from pathlib import Path

import pytest

from fleet.record import record
from tests.ingest.conventions import mutations as faults
from tests.ingest.conventions.logs import episodes_of, found_in, odd, without_pictures

pytestmark = pytest.mark.slow

ARM = "joint_position"
_EPISODES = {"ur5e": 4, "bimanual_trossen": 6}


@pytest.fixture(scope="module")
def episodes(tmp_path_factory):
    """A robot's sound episodes, by its name; recorded when they are first asked for."""
    folder: Path = tmp_path_factory.mktemp("fleet")

    @cache
    def of(robot: str) -> tuple:
        return tuple(episodes_of(record(robot, out=folder, num_episodes=_EPISODES[robot], seed=0, image_size=64)))

    return of


@pytest.mark.parametrize("robot", _EPISODES)
def test_a_sound_log_raises_nothing(episodes, robot):
    assert odd(found_in(episodes(robot))) == set()


@pytest.mark.parametrize("robot", _EPISODES)
def test_the_signs_of_a_sound_log_are_seen_not_missed(episodes, robot):
    agreed = {
        finding.check for finding in found_in(map(without_pictures, episodes(robot))) if finding.status == "agrees"
    }

    assert {"gripper_sign", "action_mode", "action_scale", "units", "gaps", "dead_dimension"} <= agreed


SIDES = [f"{side}_" for side in ("left", "right")]
FAULTS_OF_NUMBERS = [
    (faults.gripper_command_inverted, "ur5e", "contradicts", "gripper_sign", ["left gripper command"]),
    (faults.gripper_inverted, "ur5e", "contradicts", "gripper_sign", ["left gripper grasp"]),
    (
        faults.gripper_inverted,
        "bimanual_trossen",
        "contradicts",
        "gripper_sign",
        ["left gripper grasp", "right gripper grasp"],
    ),
    (faults.commands_swapped, "bimanual_trossen", "contradicts", "arms", ["commands"]),
    (faults.in_degrees, "ur5e", "contradicts", "units", [f"state.{ARM}", f"action.{ARM}"]),
    (faults.in_ticks, "ur5e", "contradicts", "units", [f"state.{ARM}", f"action.{ARM}"]),
    (faults.command_in_degrees, "ur5e", "contradicts", "action_scale", [f"action.{ARM}"]),
    (
        faults.command_in_degrees,
        "bimanual_trossen",
        "contradicts",
        "action_scale",
        [f"action.{side}{ARM}" for side in SIDES],
    ),
    (faults.velocity_commands, "ur5e", "contradicts", "action_mode", [f"action.{ARM}"]),
    (
        faults.velocity_commands,
        "bimanual_trossen",
        "contradicts",
        "action_mode",
        [f"action.{side}{ARM}" for side in SIDES],
    ),
    (faults.delta_commands, "ur5e", "contradicts", "action_mode", [f"action.{ARM}"]),
    (faults.frames_dropped, "ur5e", "noticed", "gaps", ["clock"]),
    (faults.frames_dropped_without_a_clock, "ur5e", "noticed", "gaps", ["motion"]),
    (faults.frames_dropped_without_a_clock, "bimanual_trossen", "noticed", "gaps", ["motion"]),
    (faults.wrong_rate, "ur5e", "contradicts", "rate", ["clock"]),
    (faults.encoder_dead, "ur5e", "contradicts", "dead_dimension", [f"state.{ARM}"]),
]


@pytest.mark.parametrize(("fault", "robot", "status", "check", "subjects"), FAULTS_OF_NUMBERS)
def test_a_fault_of_the_numbers_is_found(episodes, fault, robot, status, check, subjects):
    faulty = [without_pictures(fault(episode)) for episode in episodes(robot)]

    assert {(status, check, subject) for subject in subjects} <= odd(found_in(faulty))


FAULTS_OF_PICTURES = [
    (faults.arms_swapped, "bimanual_trossen", "contradicts", "arms", "wrist cameras"),
    (faults.images_late, "ur5e", "contradicts", "image_lag", "base"),
    (faults.images_late, "bimanual_trossen", "noticed", "image_lag", "base"),  # 3 frames are 0.06 s, as cameras take
    (faults.images_very_late, "bimanual_trossen", "contradicts", "image_lag", "base"),
    (faults.camera_clock_drifts, "bimanual_trossen", "noticed", "image_lag", "base"),
    (faults.base_frozen, "ur5e", "contradicts", "camera_frozen", "base"),
    (faults.base_black, "ur5e", "contradicts", "camera_black", "base"),
]


@pytest.mark.parametrize(("fault", "robot", "status", "check", "subject"), FAULTS_OF_PICTURES)
def test_a_fault_of_the_pictures_is_found(episodes, fault, robot, status, check, subject):
    findings = found_in(fault(episode) for episode in episodes(robot))

    assert (status, check, subject) in odd(findings)


@pytest.mark.parametrize("frames", [2, 4])
def test_the_lag_of_pictures_is_measured_in_frames(episodes, frames):
    findings = found_in(faults.images_late(episode, frames) for episode in episodes("ur5e"))

    lags = {finding.subject: finding.measured for finding in findings if finding.check == "image_lag"}
    assert lags["base"] == frames


@pytest.mark.parametrize("fault", [faults.gripper_command_inverted, faults.in_degrees, faults.velocity_commands])
def test_two_episodes_prove_nothing(episodes, fault):
    faulty = [without_pictures(fault(episode)) for episode in episodes("ur5e")[:2]]

    assert odd(found_in(faulty)) == set()
