"""DROID as recorded: numbers by name, three cameras by place, words and success, and recordings that are not there."""

import json

import h5py
import numpy as np
import pytest

from ingest.detect import find_embodiment
from schema.errors import EpisodeError
from schema.picture import decode_jpeg
from tests.ingest.raw_writers import DROID_ACTIONS, UUID, droid_numbers, write_droid
from tests.ingest.taking import discovered, read, take
from tests.ingest.writers import T, picture, write_video


def reason_of(folder, index=0):
    with pytest.raises(EpisodeError) as caught:
        take(folder, index)
    return caught.value.reason, str(caught.value)


def test_each_folder_is_a_record_and_the_robot_is_droids(tmp_path):
    write_droid(tmp_path, number=0)
    write_droid(tmp_path, number=1, outcome="failure")

    discovery = discovered(tmp_path)

    assert len(discovery.records) == 2
    assert find_embodiment(discovery, None).name == "franka_droid"
    assert discovery.rate_hz == 15
    assert {f"action/{name}" for name in DROID_ACTIONS} <= {field.path for field in discovery.fields}


def test_a_log_that_names_its_robot_and_rate_is_taken_at_its_word(tmp_path):
    write_droid(tmp_path, attrs={"robot": "franka", "rate_hz": 20, "simulated": True})

    discovery, episode = discovered(tmp_path), take(tmp_path)

    assert (discovery.robot, discovery.rate_hz) == ("franka", 20)
    assert episode.embodiment.name == "franka"
    assert episode.is_simulated is True


def test_all_six_action_fields_are_signals_in_stated_units(tmp_path):
    write_droid(tmp_path)
    written = droid_numbers()

    signals = take(tmp_path).signals

    np.testing.assert_array_equal(signals["action.joint_position"], written["action/joint_position"])
    np.testing.assert_allclose(signals["action.joint_velocity"], written["action/joint_velocity"] * 0.2 * 15)
    np.testing.assert_array_equal(signals["action.eef_rotation"], written["action/cartesian_position"][:, 3:])
    np.testing.assert_allclose(
        signals["action.eef_linear_velocity"], written["action/cartesian_velocity"][:, :3] * 0.075 * 15
    )
    np.testing.assert_allclose(
        signals["action.eef_angular_velocity"], written["action/cartesian_velocity"][:, 3:] * 0.15 * 15
    )
    np.testing.assert_array_equal(signals["action.gripper"][:, 0], written["action/gripper_position"])
    np.testing.assert_allclose(signals["action.gripper_velocity"][:, 0], written["action/gripper_velocity"] * 0.25 * 15)


def test_every_other_number_is_kept_by_its_path(tmp_path):
    write_droid(tmp_path)

    episode = take(tmp_path)

    assert "observation/controller_info/movement_enabled" in episode.extras
    assert "observation/timestamp/control/step_start" in episode.extras
    assert episode.timestamp_T[0] == 0
    np.testing.assert_allclose(np.diff(episode.timestamp_T), 1 / 15, atol=1e-3)


def test_each_picture_has_the_time_at_which_its_camera_took_or_gave_it(tmp_path):
    write_droid(tmp_path)

    episode = take(tmp_path)

    late_s = {name: times_T - episode.timestamp_T for name, times_T in episode.camera_timestamps.items()}
    np.testing.assert_allclose(late_s["left_wrist"], -0.02, atol=1e-6)
    np.testing.assert_allclose(late_s["base"], 0.007, atol=1e-6)
    np.testing.assert_array_equal(late_s["exterior_1"], 0)


def test_sound_in_a_recording_is_named_and_not_stored(tmp_path):
    folder = write_droid(tmp_path)
    write_video(folder / "recordings/MP4/111.mp4", [picture(step) for step in range(T)], fps=15, has_sound=True)
    assert read(tmp_path).not_stored == {"wrist_left: audio": T}


def test_cameras_are_found_by_the_serial_numbers_of_the_metadata(tmp_path):
    told = {"wrist_cam_serial": "333", "ext1_cam_serial": "111", "ext2_cam_serial": "222"}
    folder = write_droid(tmp_path, metadata=told)
    assert read(tmp_path).pictures.keys() == {"wrist_left", "exterior_1_left", "exterior_2_left"}
    (folder / "recordings/MP4/333.mp4").unlink()
    assert read(tmp_path).absent["wrist_left"].reason == "missing_video"


def test_without_metadata_they_are_found_by_the_camera_types(tmp_path):
    folder = write_droid(tmp_path, mp4=("wrist_left", "exterior_2_left"))
    (folder / f"metadata_{UUID}.json").unlink()

    raw = read(tmp_path)

    assert raw.pictures.keys() == {"wrist_left", "exterior_2_left"}
    assert raw.absent["exterior_1_left"].reason == "missing_video"


def test_frames_go_with_steps_and_one_that_follows_the_last_step_is_left_out(tmp_path):
    write_droid(tmp_path)

    episode = take(tmp_path)

    pixels = decode_jpeg(episode.cameras["left_wrist"][2].jpeg)
    assert abs(int(pixels[16, 10, 1]) - 40) < 25
    assert {len(pictures) for pictures in episode.cameras.values()} == {T}
    assert "wrist_left has 1 more pictures than there are steps, left out" in episode.provenance.notes


@pytest.mark.parametrize("pictures", [T - 1, T + 4])
def test_frames_that_cannot_go_with_steps_are_refused(tmp_path, pictures):
    write_droid(tmp_path, pictures=pictures)

    reason, message = reason_of(tmp_path)

    assert reason == "frame_count_mismatch"
    assert ".mp4" in message


@pytest.mark.parametrize(
    ("others", "reason"),
    [
        ((), "missing_video"),
        (("recordings/SVO/111.svo",), "svo_only"),
        (("recordings/MP4/111-stereo.mp4",), "stereo_only"),
    ],
)
def test_a_wrist_camera_without_mp4_says_what_there_is_instead(tmp_path, others, reason):
    write_droid(tmp_path, mp4=("exterior_1_left", "exterior_2_left"), others=others)

    found, message = reason_of(tmp_path)

    assert found == reason
    assert "MP4/111.mp4" in message


def test_a_second_exterior_camera_may_be_missing(tmp_path):
    write_droid(tmp_path, mp4=("wrist_left", "exterior_1_left"))
    assert take(tmp_path).absent_cameras == {"exterior_1": "missing_video"}


def test_stereo_and_svo_are_named_and_counted(tmp_path):
    write_droid(tmp_path, others=("recordings/SVO/111.svo", "recordings/MP4/111-stereo.mp4"))

    raw = read(tmp_path)

    assert raw.not_stored == {"recordings/SVO/111.svo": T, "recordings/MP4/111-stereo.mp4": T}
    assert not any("SVO" in note for note in raw.notes)
    assert any(note.startswith("1 SVO files are here") for note in discovered(tmp_path).notes)


def test_that_there_is_no_svo_is_said_clearly(tmp_path):
    write_droid(tmp_path)
    assert any("no SVO recordings" in note for note in read(tmp_path).notes)
    assert any(note.startswith("no SVO files are here") for note in discovered(tmp_path).notes)


@pytest.mark.parametrize(
    ("outcome", "metadata", "success"),
    [
        ("success", {}, True),
        ("failure", {}, False),
        ("failure", {"success": True}, True),
        ("2023", {}, None),
    ],
)
def test_success_is_what_the_metadata_says_or_else_the_folder(tmp_path, outcome, metadata, success):
    write_droid(tmp_path, outcome=outcome, metadata=metadata)
    assert read(tmp_path).success is success


def test_annotations_are_the_instructions_in_each_wording(tmp_path):
    entry = {"language_instruction1": "put the cup away", "language_instruction2": "cup in box", "x": 1}
    write_droid(tmp_path, annotations={UUID: entry})

    raw = read(tmp_path)

    assert [item.text for item in raw.instructions] == ["put the cup away", "cup in box"]
    assert raw.task == "Move object"


def test_without_annotations_the_kind_of_task_stands_in_with_a_note(tmp_path):
    write_droid(tmp_path)

    raw = read(tmp_path)

    assert [item.text for item in raw.instructions] == ["Move object"]
    assert any("nobody annotated" in note for note in raw.notes)


def test_new_words_make_it_another_episode(tmp_path):
    write_droid(tmp_path, annotations={UUID: {"language_instruction1": "a"}})
    before = read(tmp_path).digest
    (tmp_path / "aggregated-annotations-030724.json").write_text(json.dumps({UUID: {"language_instruction1": "bcd"}}))
    assert read(tmp_path).digest != before


def test_a_folder_without_trajectory_is_named(tmp_path):
    write_droid(tmp_path, number=0)
    (write_droid(tmp_path, number=1) / "trajectory.h5").unlink()

    problems = [record.problem for record in discovered(tmp_path).records]

    assert problems[0] is None
    assert problems[1].reason == "missing_file"
    assert "trajectory.h5" in problems[1].message


@pytest.mark.parametrize("content", ["{", "[1]", "[" * 100_000])
def test_metadata_that_cannot_be_read_is_the_episodes_error(tmp_path, content):
    (write_droid(tmp_path) / f"metadata_{UUID}.json").write_text(content)
    reason, message = reason_of(tmp_path)
    assert reason == "bad_metadata"
    assert "metadata_" in message


def test_a_trajectory_without_actions_is_refused(tmp_path):
    with h5py.File(write_droid(tmp_path) / "trajectory.h5", "a") as file:
        del file["action"]
    assert reason_of(tmp_path)[0] == "missing_field"
