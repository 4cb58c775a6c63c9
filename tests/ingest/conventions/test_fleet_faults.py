"""Every simulated robot's logs in each native format: a clean one is taken whole and raises nothing, a fault is found.

By itself a part is run in which every fault, robot and format occurs;
`ROBOMIX_ALL_FAULTS=1 ./run test -n0 tests/ingest/conventions/test_fleet_faults.py` runs every fault in every log.
"""

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fleet import faults
from fleet.faults import CUT_FILE
from fleet.robots import ROBOTS
from ingest.conventions.verdict import ConventionError
from ingest.detect import FORMATS, detect, format_named
from ingest.job import Report, Request, ingest
from ingest.location import Location
from schema.errors import ConfigError
from schema.lake import Lake
from schema.verify import verify
from tests.ingest.conventions.studio import Studio, draw_once

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("alone")]

EPISODES = {
    "bimanual_trossen": (1, 3, 4),
    "ur5e": (0, 2, 3, 5),
    "bimanual_ur5e": (2, 3, 4, 5),
    "franka": (0, 2, 3),
    "bimanual_arx": (0, 4, 6, 7),
    "mobile_trossen": (0, 2, 4, 5),
    "mobile_fibocom": (0, 2, 5, 6),
    "widowx": tuple(range(8)),
}
"""As few as show what the checks need: every arm moves, and in three the same one, whose gripper holds a thing."""
ARM = {"bimanual_arx": "right"}
"""The arm that works in these; the left one where none is named."""

LOGS = [(robot.name, form) for robot in ROBOTS.values() for form in robot.log_formats]
OF_FRAMES = [(robot, form) for robot, form in LOGS if form != "mcap" and robot != "widowx"]
"""Logs of joints whose frames are the simulation's steps."""
READER = {"aloha_hdf5": "aloha", "lerobot_v21": "lerobot", "lerobot_v30": "lerobot", "zarr": "zarr_replay"}
"""The format that reads a recorder's logs, where the two are not called the same."""


def _can_be(fault: str, robot: str, form: str) -> bool:
    try:
        faults.check(fault, ROBOTS[robot], form)
    except ConfigError:
        return False
    return True


ALL = [(robot, form, fault) for robot, form in LOGS for fault in faults.NAMES if _can_be(fault, robot, form)]
SOME = [
    ("bimanual_trossen", "aloha_hdf5", "dropped_frames"),
    ("ur5e", "lerobot_v21", "frozen_camera"),
    ("ur5e", "mcap", "clock_drift"),
    ("ur5e", "mcap", CUT_FILE),
    ("bimanual_ur5e", "zarr", "arms_swapped"),
    ("franka", "droid_raw", "image_lag"),
    ("bimanual_arx", "lerobot_v30", "gripper_command_inverted"),
    ("mobile_trossen", "aloha_hdf5", "frozen_camera"),
    ("mobile_fibocom", "lerobot_v21", "gripper_inverted"),
    ("widowx", "bridge_raw", CUT_FILE),
    ("widowx", "bridge_raw", "clock_drift"),
    *(case for case in ALL if case[1] == "rlds"),
]
CROSS = ALL if os.environ.get("ROBOMIX_ALL_FAULTS") else SOME

TELLS = {
    "gripper_inverted": ("contradicts", "gripper_sign", "{arm} gripper grasp"),
    "gripper_command_inverted": ("contradicts", "gripper_sign", "{arm} gripper command"),
    "arms_swapped": ("contradicts", "arms", "wrist cameras"),
    "degrees": ("contradicts", "units", "state.{joints}"),
    "dropped_frames": ("noticed", "gaps", "clock"),
    "clock_drift": ("noticed", "rate", "clock"),
    "image_lag": ("contradicts", "image_lag", "base"),
    "frozen_camera": ("contradicts", "camera_frozen", "{frozen}"),
}
"""The finding that tells of a fault."""
TELLS_ELSE = {
    ("degrees", "rlds"): ("contradicts", "units", "state.eef_rotation"),
    ("degrees", "bridge_raw"): ("contradicts", "units", "state.eef_rotation"),
    ("dropped_frames", "aloha_hdf5"): ("noticed", "gaps", "motion"),
    ("dropped_frames", "rlds"): ("noticed", "gaps", "action.eef_position"),
}
"""The same in formats that log tool poses, or no clock."""
CUT = {
    "aloha_hdf5": {"unreadable_hdf5"},
    "bridge_raw": {"bad_jpeg", "unreadable_pickle"},
    "droid_raw": {"bad_video", "unreadable_hdf5"},
    "lerobot_v21": {"bad_video"},
    "lerobot_v30": {"bad_video", "unreadable_parquet"},
    "mcap": {"unreadable_mcap"},
    "rlds": {"missing_record", "truncated_record"},
    "zarr": {"unreadable_zarr"},
}
"""Why an episode is in quarantine whose file was cut; some have files of different kinds."""
SHARED = {"lerobot_v30", "rlds", "zarr"}
"""Formats in which episodes may share the file that was cut."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """What an ingest says of a log."""

    report: Report | None
    """None where a contradiction stopped it."""
    odd: set[tuple[str, str, str]]
    """(status, check, subject) of what contradicts or is noticed."""
    agreed: set[str]
    """Checks that confirmed something."""
    lake: Lake

    @property
    def committed(self) -> int:
        return self.report.outcomes["committed"] if self.report else 0

    @property
    def quarantine(self) -> dict[str, int]:
        return self.report.quarantine if self.report else {}


def told_of(folder: Path, lake_uri: str) -> Told:
    """Ingest a log of which nothing but the place is known."""
    try:
        report = ingest(Request(uri=str(folder)), lake_uri=lake_uri)
    except ConventionError:
        report = None
    lake = Lake.open(lake_uri)
    rows = lake.scan("findings").select("status", "check", "subject").collect().rows()
    return Told(
        report=report,
        odd={row for row in rows if row[0] in {"contradicts", "noticed"}},
        agreed={check for status, check, _ in rows if status == "agrees"},
        lake=lake,
    )


def frames_of(lake, row, signals):
    """An episode's signals side by side, `[T, D]`."""
    with lake.local(f"{row['shard']}.parquet") as path:
        table = pl.read_parquet(path).filter(episode_id=row["episode_id"])
    return np.concatenate([np.array(table[name].to_list()).reshape(len(table), -1) for name in signals], axis=1)


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        draw_once(patch)
        yield Studio(tmp_path_factory.mktemp("studio"), episodes=EPISODES, image_size=32)


@pytest.fixture(scope="module")
def clean(studio, tmp_path_factory):
    """What is told of a robot's clean log in a format, which is ingested once."""
    lakes = tmp_path_factory.mktemp("lakes")
    return cache(lambda robot, form: told_of(studio.log(robot, form), str(lakes / f"{robot}_{form}")))


@pytest.mark.parametrize(("robot", "form"), LOGS)
def test_a_clean_log_is_taken_whole_by_the_built_in_tables_and_raises_nothing(clean, robot, form):
    told = clean(robot, form)

    assert told.odd == set()
    assert {"gripper_sign", "action_mode", "units", "image_lag", "camera_frozen"} <= told.agreed
    assert (told.report.format, told.report.embodiment) == (READER.get(form, form), robot)
    assert told.report.outcomes == {
        "committed": len(EPISODES[robot]),
        "duplicate": 0,
        "superseded": 0,
        "quarantined": 0,
    }
    assert told.lake.episodes().collect()["is_simulated"].all()
    assert verify(told.lake).problems == ()


@pytest.mark.parametrize(("robot", "form"), OF_FRAMES)
def test_what_the_robot_did_is_what_the_lake_holds(studio, clean, robot, form):
    lake, done = clean(robot, form).lake, studio.acted(robot)
    rows = lake.episodes().collect().rows(named=True)

    assert sorted(row["num_frames"] for row in rows) == sorted(map(len, done))
    for row in rows:
        space = lake.embodiment(row["embodiment_table"]).action_space()
        state_TD, action_TD = (frames_of(lake, row, signals) for signals in (space.state, space.action))
        candidates = [episode for episode in done if len(episode) == len(state_TD)]
        episode = min(candidates, key=lambda episode: np.abs(episode.state_TD - state_TD).max())
        np.testing.assert_allclose(state_TD, episode.state_TD, atol=1e-5)
        np.testing.assert_allclose(action_TD, episode.action_TD, atol=1e-5)


@pytest.mark.parametrize(("robot", "form"), LOGS)
def test_no_format_takes_another_ones_logs_for_its_own(studio, robot, form):
    location, reader = Location.of(str(studio.log(robot, form))), READER.get(form, form)

    assert reader == detect(location, None)[0].NAME
    assert [name for name in FORMATS if format_named(name).discover(location) is not None] == [reader]


@pytest.mark.parametrize(("robot", "form", "fault"), [case for case in CROSS if case[2] != CUT_FILE])
def test_a_planted_fault_is_found(studio, tmp_path, robot, form, fault):
    status, check, subject = TELLS_ELSE.get((fault, form), TELLS[fault])
    arm = ARM.get(robot, "left")
    joints = "joint_position" if len(ROBOTS[robot].mounts) == 1 else f"{arm}_joint_position"
    subject = subject.format(arm=arm, joints=joints, frozen=studio.frozen_camera(robot))

    told = told_of(studio.log(robot, form, fault), str(tmp_path / "lake"))

    assert (status, check, subject) in told.odd
    assert (told.report is None) == any(status == "contradicts" for status, _, _ in told.odd)


@pytest.mark.parametrize(("robot", "form"), [(robot, form) for robot, form, fault in CROSS if fault == CUT_FILE])
def test_a_cut_file_costs_the_episodes_that_need_it_and_no_others(studio, tmp_path, robot, form):
    told = told_of(studio.log(robot, form, CUT_FILE), str(tmp_path / "lake"))

    lost = sum(told.quarantine.values())
    assert set(told.quarantine) <= CUT[form]
    assert 1 <= lost <= (len(EPISODES[robot]) if form in SHARED else 1)
    assert told.committed == len(EPISODES[robot]) - lost
    assert told.odd == set()


def test_every_fault_every_robot_and_every_format_occurs_in_the_short_run():
    short = list(zip(*SOME, strict=True))

    assert set(short[0]) == {robot for robot, _ in LOGS}
    assert set(zip(short[0], short[1], strict=True)) == set(LOGS)
    assert set(short[2]) == set(faults.NAMES)
