"""Real robots' logs, taken whole by one lake: what is there is committed, what is missing is named."""

from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest

from curation.make_lock import make_lock
from curation.recipe import parse_recipe
from ingest import job as jobs
from ingest.detect import detect
from ingest.job import Request, ingest
from ingest.location import Location
from schema.errors import ConfigError
from schema.lake import Lake
from schema.verify import verify
from training.loader import Loader

pytest_plugins = ["tests.ingest.ray_cluster"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # three thousand AV1 pictures are decoded first

SOURCES = {
    "bridge": "bridge_rlds",
    "cr5": "cr5_lerobot_v21",
    "g1": "g1_lerobot_v21",
    "gr1": "gr1_sim_lerobot_v20",
    "panda_sim": "panda_sim_robomimic",
    "indy7": "indy7_sim_isaaclab",
    "so101": "so101_lerobot_v30",
    "piper": "piper_lerobot_v30_no_video",
    "kuka": "kuka_rosbag1",
    "panda": "panda_sim_rosbag1",
}


@pytest.fixture(scope="module")
def taken(cluster, real_logs, tmp_path_factory):
    """A lake of all the logs, and each one's first report."""
    uri = str(tmp_path_factory.mktemp("real") / "lake")
    requests = {name: Request(uri=str(real_logs / folder), source=name) for name, folder in SOURCES.items()}
    reports = {name: ingest(request, lake_uri=uri) for name, request in requests.items()}
    return SimpleNamespace(uri=uri, lake=Lake.open(uri), requests=requests, reports=reports)


def rows_of(taken, source):
    rows = list(taken.lake.episodes().collect().iter_rows(named=True))
    return [row for row in rows if row["source"] == source]


def null_views_of(taken, source):
    """How many frames of a source have no padded state, and no padded action."""
    nulls = {"padded_state": 0, "padded_action": 0}
    for shard in {row["shard"] for row in rows_of(taken, source)}:
        with taken.lake.local(f"{shard}.parquet") as path:
            table = pq.read_table(path, columns=list(nulls))
        nulls = {name: count + table[name].null_count for name, count in nulls.items()}
    return nulls


def test_bridge_is_25_widowx_episodes_without_the_black_camera(taken):
    report, rows = taken.reports["bridge"], rows_of(taken, "bridge")

    assert report.outcomes == {"committed": 25, "duplicate": 0, "superseded": 0, "quarantined": 0}
    assert (report.embodiment, report.frames) == ("widowx", 250)
    assert {row["num_frames"] for row in rows} == {10}
    assert {len(row["cameras"]) for row in rows} == {3}
    assert all("left_wrist" not in row["cameras"] for row in rows)
    assert {item["camera"]: bool(item["value"]) for item in rows[0]["absent_cameras"]} == {"left_wrist": True}
    assert len({row["task"] for row in rows}) == 4


def test_cr5_is_6_episodes_of_1332_frames(taken):
    report = taken.reports["cr5"]

    assert report.outcomes == {"committed": 6, "duplicate": 0, "superseded": 0, "quarantined": 0}
    assert (report.embodiment, report.frames) == ("dobot_cr5", 1332)


def test_g1_has_4_episodes_in_quarantine_for_their_missing_videos(taken):
    report = taken.reports["g1"]

    held = taken.lake.quarantine().collect().filter(source="g1")
    assert report.outcomes == {"committed": 6, "duplicate": 0, "superseded": 0, "quarantined": 4}
    assert report.quarantine == {"missing_video": 4}
    assert sorted(held["record_index"]) == [0, 3, 6, 9]
    assert all("fetch it" in message for message in held["message"])


def test_gr1_is_wider_than_the_padded_view_and_is_taken_all_the_same(taken):
    report = taken.reports["gr1"]

    assert report.outcomes == {"committed": 5, "duplicate": 0, "superseded": 0, "quarantined": 0}
    assert report.frames == 2096
    assert null_views_of(taken, "gr1") == {"padded_state": 2096, "padded_action": 2096}


def test_panda_sim_is_5_demos_of_159_frames_with_a_wrist_camera(taken):
    report, rows = taken.reports["panda_sim"], rows_of(taken, "panda_sim")

    assert report.outcomes == {"committed": 5, "duplicate": 0, "superseded": 0, "quarantined": 0}
    assert (report.embodiment, report.frames) == ("panda_sim", 159)
    assert {tuple(row["cameras"]) for row in rows} == {("left_wrist",)}
    assert {row["is_simulated"] for row in rows} == {True}


def test_indy7_is_100_demos_of_5523_frames_without_any_camera_and_an_empty_file(taken):
    report, rows = taken.reports["indy7"], rows_of(taken, "indy7")

    assert report.outcomes == {"committed": 100, "duplicate": 0, "superseded": 0, "quarantined": 0}
    assert (report.embodiment, report.frames) == ("indy7", 5523)
    assert {len(row["cameras"]) for row in rows} == {0}
    assert {row["success"] for row in rows} == {True}


def test_the_empty_file_of_indy7_is_noted(real_logs):
    _, discovery = detect(Location.of(str(real_logs / SOURCES["indy7"])), None)
    assert "annotated_dataset_empty.hdf5 holds 0 demos" in discovery.notes


def test_so101_is_6_episodes_of_1782_frames_out_of_one_file(taken):
    report = taken.reports["so101"]

    assert report.outcomes == {"committed": 6, "duplicate": 0, "superseded": 0, "quarantined": 0}
    assert (report.embodiment, report.frames) == ("so101", 1782)
    assert sorted(row["num_frames"] for row in rows_of(taken, "so101")) == [90, 162, 379, 382, 383, 386]


def test_piper_is_in_quarantine_for_its_missing_videos(taken):
    report = taken.reports["piper"]

    assert report.outcomes == {"committed": 0, "duplicate": 0, "superseded": 0, "quarantined": 55}
    assert (report.embodiment, report.quarantine) == ("agilex_piper", {"missing_video": 55})


@pytest.mark.parametrize(
    ("source", "robot", "frames", "rate_hz"), [("kuka", "kuka_lwr", 4101, 100.0), ("panda", "panda", 4211, 30.0)]
)
def test_bags_of_joint_states_are_one_episode_whose_action_is_told_to_be_derived(taken, source, robot, frames, rate_hz):
    report, (row,) = taken.reports[source], rows_of(taken, source)

    assert report.outcomes == {"committed": 1, "duplicate": 0, "superseded": 0, "quarantined": 0}
    assert (report.embodiment, report.frames) == (robot, frames)
    assert row["rate_hz"] == pytest.approx(rate_hz, rel=0.001)
    assert row["cameras"] == []
    assert any("action.joint_position is no recorded command" in note for note in row["notes"])
    assert any("largest gap" in note for note in row["notes"])


def test_the_mcap_fixture_is_no_robot_that_we_know_and_is_refused_with_a_way_out(taken, real_logs):
    request = Request(uri=str(real_logs / "mcap_ros2_fixture"), source="mcap")

    with pytest.raises(ConfigError, match=r"fits no embodiment.*--dry-run"):
        ingest(request, lake_uri=taken.uri)


@pytest.mark.parametrize("source", SOURCES)
def test_a_second_run_reads_nothing_and_commits_nothing(taken, source, monkeypatch):
    def refuse(job, bundle):
        raise AssertionError("a log was read")

    monkeypatch.setattr(jobs, "run_bundle", refuse)
    version = taken.lake.version("episodes")

    report = ingest(taken.requests[source], lake_uri=taken.uri)

    first = taken.reports[source].outcomes
    assert report.outcomes == {
        "committed": 0,
        "duplicate": first["committed"],
        "superseded": 0,
        "quarantined": first["quarantined"],
    }
    assert taken.lake.version("episodes") == version


def test_the_lake_of_real_logs_verifies(taken):
    found = verify(taken.lake)

    assert found.problems == ()
    assert found.episodes == 25 + 6 + 6 + 5 + 5 + 100 + 6 + 1 + 1


def test_a_lock_over_all_whose_cameras_are_there_feeds_the_loader(taken):
    sources = ", ".join(f"{{source: {name}}}" for name in _SOURCE_OF.values())
    recipe = parse_recipe(f"name: all\nsources: [{sources}]\nwidth: 44\nprompt: {{tag: true}}\n")
    lock = make_lock(recipe, taken.lake)
    rows = {"bridge": 7, "cr5": 7, "g1": 26, "gr1": 44}
    seen = set()

    with Loader(lock, batch_size=32) as loader:
        for _ in range(8):
            batch = next(loader)
            robots = [lock.components[component].embodiment for component in batch.components]
            seen.update(robots)
            for row, robot in enumerate(robots):
                assert batch.action_mask[row].sum() == rows[_SOURCE_OF[robot]]
            assert batch.image_mask.any(axis=1).all()
            assert all(prompt.startswith(robot) for prompt, robot in zip(batch.prompts, robots, strict=True))

    assert seen == set(_SOURCE_OF)
    assert sum(component.frames for component in lock.components) == 250 + 1332 + 2316 + 2096


_SOURCE_OF = {"widowx": "bridge", "dobot_cr5": "cr5", "unitree_g1": "g1", "gr1": "gr1"}
