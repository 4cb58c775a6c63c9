"""Logs from their bytes to Episodes, without a lake: tiny ones, damaged ones, and the real ones where they are."""

import numpy as np
import pytest

from ingest.detect import detect, find_embodiment
from ingest.location import Location
from schema.errors import EpisodeError, SourceError
from tests.ingest.taking import converted
from tests.ingest.writers import T, write_aloha, write_lerobot, write_rlds


def take_from(folder, *, robot=None, limit=None):
    """Detected, read and standardized: episodes by record index, and reasons of those that could not be."""
    location = Location.of(str(folder))
    reader, discovery = detect(location, None)
    embodiment = find_embodiment(discovery, robot)
    episodes, reasons = {}, {}
    for record in discovery.records[:limit]:
        try:
            episodes[record.index] = converted(location, record, reader=reader, robot=embodiment)
        except EpisodeError as error:
            reasons[record.index] = error.reason
    return discovery, episodes, reasons


def test_a_tiny_rlds_dataset_goes_all_the_way(tmp_path):
    write_rlds(tmp_path)

    _, episodes, reasons = take_from(tmp_path)

    assert (len(episodes), reasons) == (3, {})
    assert episodes[0].absent_cameras["left_wrist"] == "black_camera"
    assert episodes[0].not_stored == {"observation/depth_0": T, "language_embedding": T}


def test_a_tiny_lerobot_dataset_goes_all_the_way(tmp_path):
    write_lerobot(tmp_path)

    _, episodes, reasons = take_from(tmp_path)

    assert (len(episodes), reasons) == (2, {})
    assert episodes[0].extras == {}


def test_tiny_aloha_files_go_all_the_way_with_grippers_turned_round(tmp_path):
    write_aloha(tmp_path / "pick/episode_0.hdf5", is_jpeg=True)

    _, episodes, _ = take_from(tmp_path)

    episode = episodes[0]
    assert set(episode.cameras) == {"base", "left_wrist", "right_wrist"}
    assert {"observations/qvel", "observations/effort"} <= set(episode.extras)
    raw = np.random.default_rng(0).uniform(0, 1, (T, 14)).astype(np.float32)
    np.testing.assert_allclose(episode.signals["action.left_gripper"][:, 0], 1 - raw[:, 6], atol=1e-6)


DAMAGED = {
    "rlds": (write_rlds, "widowx"),
    "lerobot": (lambda folder: write_lerobot(folder, num_episodes=1), "ur5e"),
    "aloha": (lambda folder: write_aloha(folder / "episode_0.hdf5", is_jpeg=True), "bimanual_trossen"),
}


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_bytes_give_an_episode_or_an_error_of_ours(tmp_path, name, seed):
    write, robot = DAMAGED[name]
    write(tmp_path)
    random = np.random.default_rng(seed)
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file() and path.suffix not in {".json", ".jsonl"})
    file = files[random.integers(len(files))]
    content = bytearray(file.read_bytes())
    for place in random.integers(0, min(len(content), 8000), 3):
        content[place] = random.integers(256)
    file.write_bytes(content)

    try:
        discovery, episodes, reasons = take_from(tmp_path, robot=robot)
    except SourceError:  # the only file of a source does not look like its format any more
        return

    assert len(episodes) + len(reasons) == len(discovery.records)


def test_real_bridge_logs_give_three_cameras_and_a_black_one(real_logs):
    discovery, episodes, reasons = take_from(real_logs / "bridge_rlds")

    assert (len(episodes), reasons) == (25, {})
    assert all(episode.num_frames == 10 for episode in episodes.values())
    assert all(set(episode.cameras) == {"base", "exterior_1", "exterior_2"} for episode in episodes.values())
    assert {episode.absent_cameras["left_wrist"] for episode in episodes.values()} == {"not_in_log"}
    assert "'val'" in discovery.notes[0]
    assert any("not trusted" in note for note in episodes[0].provenance.notes)


def test_real_cr5_logs_hold_as_many_frames_as_they_say(real_logs):
    discovery, episodes, reasons = take_from(real_logs / "cr5_lerobot_v21", limit=1)

    assert len(discovery.records) == 6
    assert sum(record.num_frames for record in discovery.records) == 1332
    assert reasons == {}
    assert episodes[0].embodiment.name == "dobot_cr5"
    assert episodes[0].num_frames == len(episodes[0].cameras["left_wrist"]) == 197


def test_real_g1_logs_lack_four_videos(real_logs):
    location = Location.of(str(real_logs / "g1_lerobot_v21"))
    reader, discovery = detect(location, None)

    absent = [record.index for record in discovery.records if reader.read(location, record).absent]

    assert absent == [0, 3, 6, 9]
    _, episodes, reasons = take_from(location.uri, limit=2)
    assert reasons == {0: "missing_video"}
    assert episodes[1].embodiment.name == "unitree_g1"
    assert episodes[1].num_frames == 393


def test_real_gr1_logs_are_44_wide_and_say_what_is_odd(real_logs):
    discovery, episodes, reasons = take_from(real_logs / "gr1_sim_lerobot_v20", limit=1)

    assert len(discovery.records) == 5
    assert reasons == {}
    episode = episodes[0]
    assert sum(v.shape[1] for name, v in episode.signals.items() if name.startswith("state.")) == 44
    assert "egoview" in discovery.notes[0]
    assert "pear" in episode.task  # the pictures show a pear; tasks.jsonl calls it a squash
