"""ALOHA HDF5: raw and compressed pictures, words, and files that are cut or reach outside."""

import fsspec
import h5py
import numpy as np
import pytest

from ingest.formats import aloha
from ingest.formats.local_copy import LocalCopy
from ingest.location import Location
from schema.errors import EpisodeError
from schema.picture import encode_jpeg
from tests.ingest.raw_writers import write_mobile_aloha
from tests.ingest.taking import take
from tests.ingest.writers import ALOHA_CAMERAS, T, picture, write_aloha


def discover(folder):
    location = Location.of(str(folder))
    discovery = aloha.discover(location)
    assert discovery is not None
    return location, discovery


def read(folder, index=0):
    location, discovery = discover(folder)
    return aloha.read(location, discovery.records[index])


def test_episodes_are_found_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 2, 1):
        write_aloha(tmp_path / f"pick_cup/episode_{number}.hdf5", number=number)

    _, discovery = discover(tmp_path)

    assert [record.files[0] for record in discovery.records] == [f"pick_cup/episode_{n}.hdf5" for n in (1, 2, 10)]
    assert (discovery.robot, discovery.rate_hz) == ("aloha", 50.0)
    assert [camera.path for camera in discovery.cameras] == list(ALOHA_CAMERAS)
    assert "observations/qpos" in [field.path for field in discovery.fields]


def test_a_driven_base_makes_it_a_mobile_aloha(tmp_path):
    path = write_aloha(tmp_path / "episode_0.hdf5")
    with h5py.File(path, "a") as file:
        file["base_action"] = np.zeros((T, 2))

    _, discovery = discover(tmp_path)

    assert discovery.robot == "mobile_aloha"
    assert read(tmp_path).fields["base_action"].shape == (T, 2)


def test_numbers_keep_their_paths_and_types(tmp_path):
    write_aloha(tmp_path / "episode_0.hdf5")

    fields = read(tmp_path).fields

    assert set(fields) == {"action", "observations/qpos", "observations/qvel", "observations/effort"}
    assert fields["action"].dtype == np.float32
    assert fields["observations/qpos"].dtype == np.float64


def test_raw_pictures_come_as_they_are(tmp_path):
    write_aloha(tmp_path / "episode_0.hdf5")

    pictures = list(read(tmp_path).pictures["cam_left_wrist"])

    np.testing.assert_array_equal(pictures[2], picture(2))
    assert len(pictures) == T


def test_padded_buffers_become_the_jpeg_that_was_written(tmp_path):
    write_aloha(tmp_path / "episode_0.hdf5", is_jpeg=True)

    pictures = list(read(tmp_path).pictures["cam_high"])

    assert pictures == [encode_jpeg(picture(step)) for step in range(T)]


def test_buffers_of_their_own_length_are_read_too(tmp_path):
    path = write_aloha(tmp_path / "episode_0.hdf5")
    with h5py.File(path, "a") as file:
        del file["observations/images/cam_high"]
        rows = file.create_dataset("observations/images/cam_high", (T,), dtype=h5py.vlen_dtype(np.uint8))
        for step in range(T):
            rows[step] = np.frombuffer(encode_jpeg(picture(step)), np.uint8)

    assert list(read(tmp_path).pictures["cam_high"])[4] == encode_jpeg(picture(4))


def test_compressed_chunks_of_several_frames_are_read_whole(tmp_path):
    path = write_aloha(tmp_path / "episode_0.hdf5")
    stack = np.stack([picture(step) for step in range(T)])
    with h5py.File(path, "a") as file:
        del file["observations/images/cam_high"]
        file.create_dataset("observations/images/cam_high", data=stack, chunks=(4, 32, 48, 3), compression="gzip")

    np.testing.assert_array_equal(np.stack(list(read(tmp_path).pictures["cam_high"])), stack)


@pytest.mark.parametrize(
    ("attrs", "instruction", "task"),
    [
        ({"language": "put it there", "task": "place"}, "put it there", "place"),
        ({"language": "put it there"}, "put it there", "put it there"),
        ({"task": "place"}, "place", "place"),
        ({"language": np.array([b"put it there", b"x"])}, "put it there", "put it there"),
    ],
)
def test_words_come_from_attributes(tmp_path, attrs, instruction, task):
    write_aloha(tmp_path / "episode_0.hdf5", attrs=attrs)

    raw = read(tmp_path)

    assert (raw.instructions[0].text, raw.task, raw.notes) == (instruction, task, ())


def test_words_may_be_a_dataset(tmp_path):
    path = write_aloha(tmp_path / "episode_0.hdf5")
    with h5py.File(path, "a") as file:
        file["language_raw"] = [b"wipe the table"]

    raw = read(tmp_path)

    assert raw.task == "wipe the table"
    assert raw.not_stored == {}


def test_without_words_the_folders_name_stands_in_with_a_note(tmp_path):
    write_aloha(tmp_path / "pick_up-the_cup/episode_0.hdf5")

    raw = read(tmp_path)

    assert raw.instructions[0].text == "pick up the cup"
    assert "'pick_up-the_cup' is taken as the instruction" in raw.notes[0]


def test_attributes_tell_rate_simulation_success_and_robot(tmp_path):
    attrs = {"fps": 25, "sim": True, "success": False, "robot": "bimanual_trossen", "task": "t", "seed": 3}
    write_aloha(tmp_path / "episode_0.hdf5", attrs=attrs)

    raw = read(tmp_path)

    assert (raw.rate_hz, raw.is_simulated, raw.success) == (25.0, True, False)
    assert raw.notes == ("seed: 3",)
    assert discover(tmp_path)[1].robot == "bimanual_trossen"


@pytest.mark.parametrize("rate", [0, -5, np.nan, 1e9, "fast"])
def test_a_rate_that_cannot_be_gives_way_to_alohas_with_a_note(tmp_path, rate):
    write_aloha(tmp_path / "episode_0.hdf5", attrs={"fps": rate, "task": "t"})

    raw = read(tmp_path)

    assert raw.rate_hz == 50
    assert "which cannot be: 50 Hz is taken" in raw.notes[0]


def test_silence_about_simulation_and_success_stays_silence(tmp_path):
    write_aloha(tmp_path / "episode_0.hdf5")
    raw = read(tmp_path)
    assert (raw.is_simulated, raw.success) == (None, None)


def test_a_file_cut_in_half_is_unreadable_and_the_others_go_on(tmp_path):
    write_aloha(tmp_path / "episode_0.hdf5")
    cut = write_aloha(tmp_path / "episode_1.hdf5", number=1)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])

    assert read(tmp_path, 0).fields
    with pytest.raises(EpisodeError, match="not a whole HDF5 file") as caught:
        read(tmp_path, 1)
    assert caught.value.reason == "unreadable_hdf5"


def test_a_location_of_broken_files_only_is_still_accounted_for(tmp_path):
    (tmp_path / "episode_0.hdf5").write_bytes(b"nothing")

    _, discovery = discover(tmp_path)

    assert [record.problem.reason for record in discovery.records] == ["unreadable_hdf5"]


def test_a_link_out_of_the_file_is_refused(tmp_path):
    write_aloha(tmp_path / "episode_0.hdf5")
    path = write_aloha(tmp_path / "episode_1.hdf5")
    with h5py.File(path, "a") as file:
        file["secret"] = h5py.ExternalLink("/etc/other.hdf5", "/x")

    with pytest.raises(EpisodeError, match=r"'secret' points out of the file, to '/etc/other\.hdf5'") as caught:
        read(tmp_path, 1)
    assert caught.value.reason == "external_link"


def test_raw_data_kept_outside_of_the_file_is_refused(tmp_path):
    write_aloha(tmp_path / "episode_0.hdf5")
    path = write_aloha(tmp_path / "episode_1.hdf5")
    with h5py.File(path, "a") as file:
        file.create_dataset("outside", (4,), np.uint8, external=[(str(tmp_path / "raw"), 0, 4)])

    with pytest.raises(EpisodeError, match="its raw data"):
        read(tmp_path, 1)


def test_a_soft_link_that_leads_nowhere_is_harmless(tmp_path):
    path = write_aloha(tmp_path / "episode_0.hdf5")
    with h5py.File(path, "a") as file:
        file["nowhere"] = h5py.SoftLink("/no/such/thing")

    assert "action" in read(tmp_path).fields


def test_another_layout_is_not_aloha(tmp_path):
    with h5py.File(tmp_path / "episode_0.hdf5", "w") as file:
        file["data/demo_0/actions"] = np.zeros((T, 7))
    assert aloha.discover(Location.of(str(tmp_path))) is None


def test_a_file_without_action_among_others_is_an_error_of_its_own(tmp_path):
    write_aloha(tmp_path / "episode_0.hdf5")
    with h5py.File(tmp_path / "episode_1.hdf5", "w") as file:
        file["other"] = [1]

    with pytest.raises(EpisodeError, match="found no /action"):
        read(tmp_path, 1)


def test_the_digest_is_of_the_files_bytes(tmp_path):
    write_aloha(tmp_path / "episode_0.hdf5", number=0)
    write_aloha(tmp_path / "episode_1.hdf5", number=1)
    (tmp_path / "episode_2.hdf5").write_bytes((tmp_path / "episode_0.hdf5").read_bytes())

    digests = [read(tmp_path, index).digest for index in range(3)]

    assert digests[0] == digests[2] != digests[1]


def test_a_remote_file_is_fetched_once_and_removed_with_its_last_reader(tmp_path):
    path = write_aloha(tmp_path / "episode_0.hdf5")
    fsspec.filesystem("memory").pipe("/aloha-test/episode_0.hdf5", path.read_bytes())
    location = Location.of("memory://aloha-test")

    copy = LocalCopy(location, "episode_0.hdf5")
    fetched = copy.path
    assert fetched.read_bytes() == path.read_bytes()
    del copy
    assert not fetched.exists()

    raw = aloha.read(location, aloha.discover(location).records[0])
    assert raw.digest == read(tmp_path).digest
    np.testing.assert_array_equal(list(raw.pictures["cam_high"])[1], picture(1))


@pytest.mark.parametrize("is_jpeg", [True, False])
def test_mobile_aloha_is_mobile_trossen_with_its_base(tmp_path, is_jpeg):
    path = write_mobile_aloha(tmp_path / "episode_0.hdf5", is_jpeg=is_jpeg)
    with h5py.File(path) as file:
        base, action = file["base_action"][()], file["action"][()]

    episode = take(tmp_path)

    assert episode.embodiment.name == "mobile_trossen"
    np.testing.assert_array_equal(episode.signals["action.base_velocity"], base)
    np.testing.assert_array_equal(episode.signals["action.left_gripper"][:, 0], 1 - action[:, 6])
    np.testing.assert_array_equal(episode.signals["action.right_joint_position"], action[:, 7:13])
    assert set(episode.extras) == {"observations/qvel", "observations/effort"}
    assert {len(pictures) for pictures in episode.cameras.values()} == {T}
    assert (episode.absent_cameras, episode.not_stored) == ({}, {})
