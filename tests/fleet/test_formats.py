"""Each native format, read back with the format's own library; those that can be ingested, through the job."""

import io
import json
import pickle
from datetime import UTC, datetime

import av
import h5py
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import zarr
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from PIL import Image

from fleet.bridge import bridge_log
from fleet.episode import simulate
from fleet.record import record
from fleet.recording import EPOCH_S
from fleet.robots import FRANKA, ROBOTS, WIDOWX
from ingest import job as jobs
from ingest import tasks
from ingest.formats.tf_example import parse_example, values_of
from ingest.job import Request, ingest
from schema.lake import Lake
from tests.ingest.inline_ray import inline_ray
from tests.ingest.writers import frame_tfrecord

SIZE = 32
LOGS = [
    ("ur5e", "mcap"),
    ("bimanual_ur5e", "zarr"),
    ("franka", "droid_raw"),
    ("bimanual_arx", "lerobot_v30"),
    ("mobile_trossen", "aloha_hdf5"),
    ("mobile_fibocom", "lerobot_v21"),
    ("widowx", "rlds"),
    ("widowx", "bridge_raw"),
]


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """Two episodes of each robot in each new format."""
    out = tmp_path_factory.mktemp("logs")
    for robot, form in LOGS:
        record(robot, out=out / form, num_episodes=2, seed=5, image_size=SIZE, log_format=form)
    return out


@pytest.fixture(scope="module")
def episode():
    made = {}

    def of(robot, index=0):
        key = (robot, index)
        if key not in made:
            made[key] = simulate(ROBOTS[robot], seed=5, index=index)
        return made[key]

    return of


def _bytes(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("robot", "form"), LOGS)
def test_the_same_seed_writes_the_same_bytes(logs, tmp_path, robot, form):
    again = record(robot, out=tmp_path, num_episodes=2, seed=5, image_size=SIZE, log_format=form)

    assert _bytes(again) == _bytes(logs / form / robot)


@pytest.mark.parametrize(("robot", "form"), [("ur5e", "mcap"), ("franka", "droid_raw"), ("widowx", "bridge_raw")])
def test_a_shorter_record_has_the_first_files_of_a_longer_one(logs, tmp_path, robot, form):
    short = _bytes(record(robot, out=tmp_path, num_episodes=1, seed=5, image_size=SIZE, log_format=form))
    long = _bytes(logs / form / robot)

    data = {name for name in short if "annotations" not in name}
    assert data
    assert all(short[name] == long[name] for name in data)


@pytest.fixture(scope="module")
def messages(logs):
    """Topic, time of the log and message of one MCAP file."""
    with (logs / "mcap/ur5e/episode_000000.mcap").open("rb") as stream:
        reader = make_reader(stream, decoder_factories=[DecoderFactory()])
        return [(channel.topic, sent.log_time, said) for _, channel, sent, said in reader.iter_decoded_messages()]


def _stamps(messages, topic):
    """Seconds from the episode's beginning, by the messages' own headers."""
    stamps = [m.header.stamp for name, _, m in messages if name == topic]
    return np.array([stamp.sec - EPOCH_S + stamp.nanosec * 1e-9 for stamp in stamps])


@pytest.mark.parametrize(
    ("topic", "rate_hz", "jitter_s"),
    [
        ("/joint_states", 125, 1e-6),
        ("/gripper/joint_states", 25, 1e-6),
        ("/command/joint_states", 20, 1e-6),
        ("/base/image/compressed", 30, 0.01),
        ("/left_wrist/image/compressed", 25, 0.01),
    ],
)
def test_mcap_devices_have_rates_of_their_own(messages, topic, rate_hz, jitter_s):
    gaps = np.diff(_stamps(messages, topic))

    assert np.mean(gaps) == pytest.approx(1 / rate_hz, rel=0.02)
    assert np.std(gaps) < jitter_s
    assert "image" not in topic or np.std(gaps) > 1e-3


def test_mcap_joints_follow_the_episode(messages, episode):
    stamps = _stamps(messages, "/joint_states")
    positions = np.array([list(m.position) for topic, _, m in messages if topic == "/joint_states"])
    state = episode("ur5e").state_TD

    expected = np.stack([np.interp(stamps, np.arange(len(state)) / 20, column) for column in state[:, :6].T], -1)
    np.testing.assert_allclose(positions, expected, atol=1e-6)


def test_mcap_messages_arrive_after_they_were_measured_in_the_order_of_the_log(messages):
    arrived = [log_ns for _, log_ns, _ in messages]
    stamped = [(log_ns, m.header.stamp) for _, log_ns, m in messages if hasattr(m, "header")]
    late = [log_ns - (stamp.sec * 10**9 + stamp.nanosec) for log_ns, stamp in stamped]

    assert arrived == sorted(arrived)
    assert min(late) > 0
    assert max(late) < 50e6


def test_mcap_pictures_are_jpeg_and_the_instruction_is_said(messages, episode):
    picture = next(m for topic, _, m in messages if topic == "/base/image/compressed")
    said = next(m for topic, _, m in messages if topic == "/instruction")

    with Image.open(io.BytesIO(bytes(picture.data))) as image:
        assert (image.size, image.format) == ((SIZE, SIZE), "JPEG")
    assert said.data == episode("ur5e").instruction


def test_zarr_buffer_holds_the_episodes_end_to_end(logs, episode):
    root = zarr.open_group(str(logs / "zarr/bimanual_ur5e/replay_buffer.zarr"), mode="r")
    first, second = episode("bimanual_ur5e"), episode("bimanual_ur5e", 1)
    joined = np.concatenate([first.action_TD, second.action_TD])

    assert root["meta/episode_ends"][:].tolist() == [len(first), len(first) + len(second)]
    np.testing.assert_array_equal(root["data/action"][:], joined)
    np.testing.assert_array_equal(root["data/robot1_joint_pos"][: len(first)], first.state_TD[:, 7:13])
    assert root["data/camera2_rgb"].shape == (len(joined), SIZE, SIZE, 3)
    assert root["meta/instruction"][:].tolist() == [first.instruction, second.instruction]
    assert root.attrs["simulated"] is True


@pytest.fixture(scope="module")
def droid(logs):
    path = min(logs.glob("droid_raw/franka/SIM/success/*/*/trajectory.h5"))
    with h5py.File(path) as file:
        yield file, path.parent


def test_droid_actions_lead_from_the_state(droid, episode):
    file, _ = droid
    state, action = file["observation/robot_state/joint_positions"][:], file["action/joint_position"][:]

    np.testing.assert_allclose(state, episode("franka").state_TD[:, :7])
    np.testing.assert_allclose(file["action/joint_velocity"][:], np.clip((action - state) / 0.2, -1, 1), atol=1e-6)
    moved = file["action/cartesian_position"][:, :3] - file["observation/robot_state/cartesian_position"][:, :3]
    np.testing.assert_allclose(file["action/cartesian_velocity"][:, :3], np.clip(moved / 0.075, -1, 1), atol=1e-6)
    assert file["observation/camera_type/18026681"][0] == 0


def test_droid_recordings_have_a_picture_for_each_step(droid):
    file, folder = droid

    videos = sorted(folder.glob("recordings/MP4/*.mp4"))

    assert len(videos) == len(FRANKA.cameras)
    for video in videos:
        with av.open(str(video)) as container:
            assert sum(1 for _ in container.decode(video=0)) == len(file["action/joint_position"])


def test_droid_words_are_found_by_the_episode_s_id(droid, logs, episode):
    _, folder = droid
    metadata = json.loads(next(folder.glob("metadata_*.json")).read_text())
    words = json.loads(next(logs.glob("droid_raw/franka/aggregated-annotations-*.json")).read_text())

    assert words[metadata["uuid"]]["language_instruction1"] == episode("franka").instruction
    assert metadata["success"] is True


def test_lerobot_v30_files_hold_many_episodes_and_say_where_each_is(logs, episode):
    root = logs / "lerobot_v30/bimanual_arx"
    info = json.loads((root / "meta/info.json").read_text())
    rows = pq.read_table(root / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    data = pq.read_table(root / "data/chunk-000/file-000.parquet")
    tasks = pq.read_table(root / "meta/tasks.parquet").to_pylist()

    assert (info["codebase_version"], info["total_frames"]) == ("v3.0", len(data))
    for index, row in enumerate(rows):
        acted = episode("bimanual_arx", index)
        part = data.slice(row["dataset_from_index"], row["length"])
        np.testing.assert_array_equal(np.stack(part["action"].to_numpy()), acted.action_TD)
        assert tasks[part["task_index"][0].as_py()]["__index_level_0__"] == row["tasks"][0] == acted.instruction
    key = "videos/observation.images.base"
    assert rows[1][f"{key}/from_timestamp"] == rows[0][f"{key}/to_timestamp"] == rows[0]["length"] / 50
    with av.open(str(root / "videos/observation.images.base/chunk-000/file-000.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == len(data)


def test_mobile_aloha_has_the_base_s_velocities_beside_the_arms_actions(logs, episode):
    path = next((logs / "aloha_hdf5/mobile_trossen").glob("drive_up_and_put_block_on_plate/episode_0.hdf5"))
    with h5py.File(path) as file:
        assert file["action"].shape[1] == 14
        np.testing.assert_array_equal(file["base_action"][:], episode("mobile_trossen").action_TD[:, 14:])


def test_fibocom_s_lerobot_actions_are_wider_than_its_states(logs):
    info = json.loads((logs / "lerobot_v21/mobile_fibocom/meta/info.json").read_text())

    assert info["features"]["observation.state"]["shape"] == [14]
    assert info["features"]["action"]["shape"] == [17]
    assert info["features"]["action"]["names"][14:] == ["base_x", "base_y", "base_yaw"]


def test_rlds_records_are_framed_and_parsed_by_protobuf(logs, episode):
    shard = (logs / "rlds/widowx/bridge_dataset/1.0.0/bridge_dataset-train.tfrecord-00000-of-00001").read_bytes()
    size = int.from_bytes(shard[:8], "little")
    payload = shard[12 : 12 + size]
    features = parse_example(payload)
    log = bridge_log(episode("widowx"))

    assert shard.startswith(frame_tfrecord(payload))
    np.testing.assert_array_equal(values_of(features["steps/action"]).reshape(-1, 7), log.action_T7)
    np.testing.assert_array_equal(values_of(features["steps/observation/state"]).reshape(-1, 7), log.state_T7)
    assert values_of(features["steps/is_last"]).tolist() == [0] * (len(log.action_T7) - 1) + [1]
    assert values_of(features["steps/language_instruction"])[0].decode() == episode("widowx").instruction


def test_bridge_actions_are_displacements_that_the_arm_nearly_reaches(episode):
    log = bridge_log(episode("widowx"))
    reached = np.diff(log.state_T7[:, :3], axis=0)[1:]
    wanted = log.action_T7[1:-1, :3]

    assert not log.action_T7[0].any()
    assert np.corrcoef(reached.ravel(), wanted.ravel())[0, 1] > 0.95
    # Straight down is no turn, and 1 is open.
    assert np.abs(log.state_T7[0, 3:6]).max() < 1e-3
    assert log.state_T7[0, 6] == 1


def test_bridge_raw_has_one_observation_more_than_actions(logs, episode):
    folder = next(logs.glob("bridge_raw/widowx/simulated/tabletop/put_block_on_plate/00/*/raw/traj_group0/traj0"))
    observed = pickle.loads((folder / "obs_dict.pkl").read_bytes())
    actions = pickle.loads((folder / "policy_out.pkl").read_bytes())

    assert len(observed["full_state"]) == len(observed["time_stamp"]) == len(actions) + 1
    assert len(list((folder / "images0").glob("im_*.jpg"))) == len(list((folder / "images3").glob("im_*.jpg")))
    assert len(list((folder / "images0").glob("im_*.jpg"))) == len(actions) + 1
    assert (folder / "lang.txt").read_text().splitlines()[0] == episode("widowx").instruction
    assert datetime.fromtimestamp(observed["time_stamp"][0], UTC).year == 2026
    assert actions[1]["actions"].shape == (len(bridge_log(episode("widowx")).action_T7[0]),)


@pytest.mark.parametrize(
    ("robot", "form", "width"), [("mobile_trossen", "aloha_hdf5", 2), ("mobile_fibocom", "lerobot_v21", 3)]
)
def test_mobile_logs_are_ingested_with_their_bases(logs, tmp_path, monkeypatch, robot, form, width):
    lake, frames = _ingested(logs / form / robot, tmp_path, monkeypatch)

    assert lake["embodiment"].unique().to_list() == [robot]
    velocities = frames["action.base_velocity"].to_list()
    assert all(len(velocity) == width for velocity in velocities)
    assert any(velocities[10])


def test_a_widowx_log_is_ingested_from_rlds(logs, tmp_path, monkeypatch, episode):
    lake, frames = _ingested(logs / "rlds/widowx", tmp_path, monkeypatch)

    assert lake["embodiment"].unique().to_list() == [WIDOWX.name]
    assert sorted(lake["num_frames"].to_list()) == sorted(len(episode("widowx", k)) + 1 for k in range(2))
    assert len(frames) > 0


def _ingested(folder, tmp_path, monkeypatch):
    """The rows of the lake's episodes, and the frames of its first shard."""
    monkeypatch.setattr(tasks, "ray", inline_ray())
    monkeypatch.setattr(jobs, "start_ray", lambda *_: None)
    monkeypatch.setattr(tasks, "num_cpus", lambda: 1)
    report = ingest(Request(uri=str(folder)), lake_uri=str(tmp_path / "lake"))
    assert report.outcomes["committed"] == report.discovered == 2
    lake = Lake.open(str(tmp_path / "lake"))
    shard = min((tmp_path / "lake" / "shards").rglob("*.parquet"))
    return lake.episodes().collect(), pl.read_parquet(shard)
