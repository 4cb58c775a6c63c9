import io
import json

import av
import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fleet.episode import simulate
from fleet.record import record
from fleet.record_aloha import AlohaRecorder
from fleet.record_lerobot import LeRobotRecorder
from fleet.recording import whole_file
from fleet.robots import BIMANUAL_TROSSEN, UR5E_TABLETOP
from schema.errors import ConfigError

SIZE = 48
ROBOTS = ("bimanual_trossen", "ur5e")


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    out = tmp_path_factory.mktemp("logs")
    for robot in ROBOTS:
        record(robot, out=out, num_episodes=3, seed=5, image_size=SIZE)
    return out


@pytest.fixture(scope="module")
def aloha(logs):
    with h5py.File(logs / "bimanual_trossen" / "hand_block_over" / "episode_0.hdf5") as file:
        yield file


def _info(logs):
    return json.loads((logs / "ur5e" / "meta" / "info.json").read_text())


def _rows(logs, name):
    return [json.loads(line) for line in (logs / "ur5e" / "meta" / f"{name}.jsonl").read_text().splitlines()]


def _table(logs, index):
    return pq.read_table(logs / "ur5e" / f"data/chunk-000/episode_{index:06d}.parquet")


def _bytes(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("robot", ROBOTS)
def test_the_same_seed_writes_the_same_bytes(logs, tmp_path, robot):
    again = record(robot, out=tmp_path, num_episodes=3, seed=5, image_size=SIZE)

    assert _bytes(again) == _bytes(logs / robot)


@pytest.mark.parametrize("robot", ROBOTS)
def test_a_shorter_record_is_a_prefix_of_a_longer_one(logs, tmp_path, robot):
    short = _bytes(record(robot, out=tmp_path, num_episodes=1, seed=5, image_size=SIZE))
    long = _bytes(logs / robot)

    data = {name for name in short if not name.startswith("meta")}
    assert data
    assert all(short[name] == long[name] for name in data)


def test_no_partial_files_are_left(logs):
    assert not list(logs.rglob("*partial*"))


def test_aloha_files_stand_in_a_folder_per_task(logs):
    assert sorted(str(p.relative_to(logs / "bimanual_trossen")) for p in logs.glob("bimanual_trossen/*/*")) == [
        "hand_block_over/episode_0.hdf5",
        "put_block_on_plate_with_an_arm/episode_0.hdf5",
        "sort_blocks_with_both_arms/episode_0.hdf5",
    ]


@pytest.mark.parametrize("name", ["action", "observations/qpos", "observations/qvel", "observations/effort"])
def test_aloha_signals_are_float32_of_14_dimensions(aloha, name):
    assert aloha[name].dtype == np.float32
    assert aloha[name].shape == (len(aloha["action"]), 14)


def test_aloha_attributes_say_what_it_is(aloha):
    attributes = dict(aloha.attrs)

    assert attributes["sim"]
    assert attributes["simulated"]
    assert attributes["compress"]
    assert attributes["success"]
    assert attributes["perturbed"]
    assert attributes["task"] == "hand block over"
    assert attributes["language"].startswith("hand the ")
    assert attributes["fps"] == 50


def test_aloha_grippers_are_one_when_open(aloha):
    action = aloha["action"][:]

    np.testing.assert_allclose(aloha["observations/qpos"][0, [6, 13]], 1.0)
    assert set(np.unique(action[:, [6, 13]])) == {0.0, 1.0}
    # Fingers stop at the block, so the reached opening stays between.
    assert 0.4 < aloha["observations/qpos"][:, 6].min() < 0.8


def test_aloha_gripper_velocity_is_the_rate_of_its_opening(aloha):
    qpos, qvel = aloha["observations/qpos"][:], aloha["observations/qvel"][:]

    np.testing.assert_allclose(np.diff(qpos, axis=0) * 50, qvel[1:], atol=1e-3)


@pytest.mark.parametrize("camera", ["cam_high", "cam_left_wrist", "cam_right_wrist"])
def test_aloha_pictures_are_padded_jpeg_buffers(aloha, camera):
    buffers = aloha[f"observations/images/{camera}"]

    assert buffers.dtype == np.uint8
    assert len(buffers) == len(aloha["action"])
    with Image.open(io.BytesIO(buffers[3].tobytes())) as picture:
        assert (picture.size, picture.format) == ((SIZE, SIZE), "JPEG")


def test_aloha_lengths_bound_each_jpeg(aloha):
    lengths = aloha["compress_len"][:].astype(int)
    buffer = aloha["observations/images/cam_high"][0]

    assert lengths.shape == (3, len(aloha["action"]))
    assert bytes(buffer[lengths[0, 0] - 2 : lengths[0, 0]]) == b"\xff\xd9"
    assert not buffer[lengths[0, 0] :].any()


def test_aloha_pictures_can_be_raw(tmp_path):
    recorder = AlohaRecorder(folder=tmp_path, image_size=16, compress=False)

    recorder.write(simulate(BIMANUAL_TROSSEN, seed=5, index=0))

    with h5py.File(next(tmp_path.rglob("*.hdf5"))) as file:
        images = file["observations/images/cam_high"]
        assert images.shape == (len(file["action"]), 16, 16, 3)
        assert images.dtype == np.uint8
        assert not file.attrs["compress"]
        assert "compress_len" not in file


def test_lerobot_info_describes_the_dataset(logs):
    info = _info(logs)

    assert info["codebase_version"] == "v2.1"
    assert info["robot_type"] == "ur5e"
    assert info["simulated"] is True
    assert (info["fps"], info["total_episodes"], info["total_videos"], info["total_chunks"]) == (20, 3, 6, 1)
    assert info["total_frames"] == sum(row["length"] for row in _rows(logs, "episodes"))
    assert info["splits"] == {"train": "0:3"}
    assert info["features"]["action"]["names"][-1] == "gripper"
    assert info["features"]["observation.images.base"]["shape"] == [SIZE, SIZE, 3]


def test_lerobot_tasks_are_the_instructions(logs):
    tasks = {row["task_index"]: row["task"] for row in _rows(logs, "tasks")}

    for index, row in enumerate(_rows(logs, "episodes")):
        assert row["tasks"] == [tasks[_table(logs, index)["task_index"][0].as_py()]]
        assert row["success"] is True
        assert row["simulated"] is True


def test_lerobot_columns_are_numbered_through(logs):
    tables = [_table(logs, index) for index in range(3)]
    index = np.concatenate([table["index"].to_numpy() for table in tables])

    np.testing.assert_array_equal(index, np.arange(_info(logs)["total_frames"]))
    assert str(tables[0].schema.field("action").type) == "fixed_size_list<element: float>[7]"
    assert str(tables[0].schema.field("timestamp").type) == "float"
    np.testing.assert_allclose(np.diff(tables[0]["timestamp"].to_numpy()), 0.05, atol=1e-5)


def test_lerobot_grippers_are_zero_when_open(logs):
    table = _table(logs, 0)
    action, state = (np.stack(table[name].to_numpy()) for name in ("action", "observation.state"))

    assert state[0, 6] == 0
    assert set(np.unique(action[:, 6])) == {0.0, 1.0}
    assert 0.3 < state[:, 6].max() < 0.5


@pytest.mark.parametrize("camera", ["base", "left_wrist"])
@pytest.mark.parametrize("index", range(3))
def test_lerobot_videos_have_a_picture_per_row(logs, camera, index):
    path = logs / "ur5e" / f"videos/chunk-000/observation.images.{camera}/episode_{index:06d}.mp4"

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        described = (stream.codec_context.name, stream.codec_context.pix_fmt, stream.average_rate)

    assert described == ("h264", "yuv420p", 20)
    assert len(frames) == len(_table(logs, index))
    assert (frames[0].width, frames[0].height) == (SIZE, SIZE)
    assert float(frames[-1].time) == pytest.approx((len(frames) - 1) / 20)


def test_lerobot_statistics_cover_every_feature(logs):
    rows = _rows(logs, "episodes_stats")
    stats = rows[1]["stats"]
    action = np.stack(_table(logs, 1)["action"].to_numpy())

    assert len(rows) == 3
    assert set(stats) == set(_info(logs)["features"])
    np.testing.assert_allclose(stats["action"]["mean"], action.mean(0), atol=1e-5)
    assert np.shape(stats["observation.images.base"]["mean"]) == (3, 1, 1)


def test_lerobot_refuses_an_odd_image_size(tmp_path):
    with pytest.raises(ConfigError, match="even image size, found 47"):
        LeRobotRecorder(UR5E_TABLETOP, folder=tmp_path, image_size=47)


def test_progress_is_told_after_each_episode(tmp_path):
    seen = []

    record("ur5e", out=tmp_path, num_episodes=2, seed=0, image_size=16, progress=lambda *done: seen.append(done))

    assert seen == [(1, 2), (2, 2)]


def test_a_folder_that_holds_a_dataset_is_not_overwritten(logs):
    before = _bytes(logs / "ur5e")

    with pytest.raises(ConfigError, match="already there"):
        record("ur5e", out=logs, num_episodes=1, seed=0)

    assert _bytes(logs / "ur5e") == before


@pytest.mark.parametrize(
    ("robot", "wrong", "message"),
    [
        ("r2d2", {}, "no simulated robot 'r2d2'"),
        ("ur5e", {"num_episodes": 0}, "num_episodes >= 1"),
        ("ur5e", {"seed": -1}, "seed >= 0"),
        ("ur5e", {"image_size": 47}, "even image size"),
    ],
)
def test_wrong_requests_are_refused_and_leave_nothing(tmp_path, robot, wrong, message):
    with pytest.raises(ConfigError, match=message):
        record(robot, out=tmp_path, **{"num_episodes": 1, "seed": 0, **wrong})

    assert not list(tmp_path.rglob("*"))


def test_a_file_that_fails_on_the_way_is_not_there(tmp_path):
    def fail():
        with whole_file(tmp_path / "log") as partial:
            partial.write_text("half")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        fail()

    assert not list(tmp_path.iterdir())
