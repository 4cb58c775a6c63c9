"""Every simulated robot in each of its log formats, through the job by the built-in tables: what went in comes out."""

from functools import cache

import numpy as np
import polars as pl
import pytest

from fleet.episode import simulate
from fleet.record import record
from fleet.robots import ROBOTS
from ingest.conventions.verdict import findings_of
from ingest.detect import FORMATS, detect
from ingest.job import Request, ingest
from ingest.location import Location
from schema.lake import Lake
from schema.verify import verify

FORMAT_OF = {
    "aloha_hdf5": "aloha",
    "lerobot_v21": "lerobot",
    "lerobot_v30": "lerobot",
    "zarr": "zarr_replay",
}
"""The reader of a recorder's logs, where the two are not called the same."""
LOGS = [(robot.name, form) for robot in ROBOTS.values() for form in robot.log_formats]
OF_FRAMES = [(robot, form) for robot, form in LOGS if form != "mcap" and robot != "widowx"]
"""Logs of joints whose frames are the simulation's steps."""


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """Two episodes of each robot in each of its formats, recorded when they are first asked for."""
    out = tmp_path_factory.mktemp("fleet")

    @cache
    def of(robot, form):
        return record(robot, out=out / form, num_episodes=2, seed=5, image_size=64, log_format=form)

    return of


@pytest.fixture(scope="module")
def taken(logs, tmp_path_factory):
    """The report and the lake of an ingest that was told nothing but the place of the logs, made once."""
    out = tmp_path_factory.mktemp("lakes")

    @cache
    def of(robot, form):
        lake = str(out / f"{robot}_{form}")
        return ingest(Request(uri=str(logs(robot, form))), lake_uri=lake), Lake.open(lake)

    return of


def frames_of(lake, row, signals):
    """An episode's signals side by side, `[T, D]`."""
    with lake.local(f"{row['shard']}.parquet") as path:
        table = pl.read_parquet(path).filter(episode_id=row["episode_id"])
    return np.concatenate([np.array(table[name].to_list()).reshape(len(table), -1) for name in signals], axis=1)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(("robot", "form"), LOGS)
def test_a_robots_logs_are_taken_whole_by_the_built_in_tables_and_nothing_contradicts(taken, robot, form):
    report, lake = taken(robot, form)

    assert (report.format, report.embodiment) == (FORMAT_OF.get(form, form), robot)
    assert report.outcomes == {"committed": 2, "duplicate": 0, "superseded": 0, "quarantined": 0}
    findings = findings_of(lake, report.ingest_run)
    assert findings
    assert [finding for finding in findings if finding.status == "contradicts"] == []
    assert lake.episodes().collect()["is_simulated"].to_list() == [True, True]
    assert verify(lake).problems == ()


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(("robot", "form"), OF_FRAMES)
def test_what_the_robot_did_is_what_the_lake_holds(taken, robot, form):
    _, lake = taken(robot, form)
    done = {len(episode): episode for episode in (simulate(ROBOTS[robot], seed=5, index=index) for index in range(2))}
    rows = lake.episodes().collect().rows(named=True)

    assert {row["num_frames"] for row in rows} == done.keys()
    for row in rows:
        space, episode = lake.embodiment(row["embodiment_table"]).action_space(), done[row["num_frames"]]
        np.testing.assert_allclose(frames_of(lake, row, space.state), episode.state_TD, atol=1e-5)
        np.testing.assert_allclose(frames_of(lake, row, space.action), episode.action_TD, atol=1e-5)


@pytest.mark.parametrize(("robot", "form"), LOGS)
def test_no_format_takes_another_ones_logs_for_its_own(logs, robot, form):
    location = Location.of(str(logs(robot, form)))

    assert FORMAT_OF.get(form, form) == detect(location, None)[0].NAME
    assert [item.NAME for item in FORMATS if item.discover(location) is not None] == [FORMAT_OF.get(form, form)]
