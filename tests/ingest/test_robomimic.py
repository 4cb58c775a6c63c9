"""robomimic files: demos of robosuite and IsaacLab, with cameras and without, and files with no demo at all."""

import json

import fsspec
import h5py
import numpy as np
import pytest

from ingest.detect import find_embodiment
from ingest.formats import robomimic
from ingest.formats.robomimic_environment import environment_of
from ingest.location import Location
from schema.errors import EpisodeError
from schema.picture import encode_jpeg
from tests.ingest.raw_writers import ENV_ARGS, write_robomimic
from tests.ingest.taking import discovered, read, take
from tests.ingest.writers import T, picture


def reason_of(folder, index=0):
    with pytest.raises(EpisodeError) as caught:
        take(folder, index)
    return caught.value.reason, str(caught.value)


def test_demos_of_all_files_are_records_in_the_order_of_their_numbers(tmp_path):
    write_robomimic(tmp_path / "a.hdf5", demos=11)
    write_robomimic(tmp_path / "b.hdf5", demos=1)

    discovery = discovered(tmp_path)

    assert [record.meta["demo"] for record in discovery.records[:4]] == ["demo_0", "demo_1", "demo_2", "demo_3"]
    assert [record.files[0] for record in discovery.records].count("b.hdf5") == 1
    assert {record.num_frames for record in discovery.records} == {T}
    assert discovery.rate_hz == 20
    assert [camera.path for camera in discovery.cameras] == ["robot0_eye_in_hand_image"]


def test_numbers_are_kept_by_name_and_units_are_stated(tmp_path):
    path = write_robomimic(tmp_path / "a.hdf5")
    with h5py.File(path) as file:
        actions, fingers = file["data/demo_1/actions"][()], file["data/demo_1/obs/robot0_gripper_qpos"][()]

    episode = take(tmp_path, 1)

    np.testing.assert_allclose(episode.signals["action.eef_position"], actions[:, :3] * 0.05)
    np.testing.assert_allclose(episode.signals["action.eef_rotation"], actions[:, 3:6] * 0.5)
    np.testing.assert_allclose(episode.signals["action.gripper"][:, 0], (actions[:, 6] + 1) / 2)
    np.testing.assert_allclose(episode.signals["state.gripper"][:, 0], 1 - fingers[:, 0] / 0.04)
    assert {"rewards", "obs/robot0_gripper_qpos", "next_obs/robot0_eef_pos"} <= set(episode.extras)
    assert episode.is_simulated is True


def test_pictures_of_the_next_step_are_named_and_not_stored(tmp_path):
    write_robomimic(tmp_path / "a.hdf5")

    episode = take(tmp_path)

    assert episode.not_stored["next_obs/robot0_eye_in_hand_image"] == T
    assert episode.cameras["left_wrist"][3].jpeg == encode_jpeg(picture(3))


def test_an_episode_without_any_camera_is_taken(tmp_path):
    write_robomimic(tmp_path / "a.hdf5", cameras=())

    episode = take(tmp_path)

    assert episode.num_frames == T
    assert episode.absent_cameras == {"left_wrist": "not_in_log"}


def test_depth_is_counted_and_not_read(tmp_path):
    with h5py.File(write_robomimic(tmp_path / "a.hdf5"), "a") as file:
        file["data/demo_0/obs/front_depth"] = np.zeros((T, 84, 84, 1), np.float32)
    assert take(tmp_path).not_stored["obs/front_depth"] == T


def test_a_file_without_demos_is_a_note(tmp_path):
    write_robomimic(tmp_path / "empty.hdf5", demos=0)
    write_robomimic(tmp_path / "full.hdf5", demos=3)

    discovery = discovered(tmp_path)

    assert len(discovery.records) == 3
    assert "empty.hdf5 holds 0 demos" in discovery.notes


def test_filter_masks_are_noted_for_the_source_and_for_each_demo(tmp_path):
    write_robomimic(tmp_path / "a.hdf5", masks={"train": ["demo_0"], "valid": ["demo_1"]})

    assert "a.hdf5: filter mask 'train' names 1 demos" in discovered(tmp_path).notes
    assert "filter mask 'valid' names this demo" in read(tmp_path, 1).notes
    assert "filter mask 'valid' names this demo" not in read(tmp_path, 0).notes


def test_a_demo_that_claims_another_length_is_refused(tmp_path):
    write_robomimic(tmp_path / "a.hdf5", attrs={"num_samples": T + 1})
    reason, message = reason_of(tmp_path)
    assert reason == "frame_count_mismatch"
    assert "demo_0" in message
    assert "a.hdf5" in message


def test_a_file_of_another_robot_is_not_mixed_in(tmp_path):
    other = json.loads(json.dumps(ENV_ARGS))
    other["env_kwargs"]["controller_configs"]["output_max"] = [0.1] * 6
    write_robomimic(tmp_path / "a.hdf5", demos=1)
    write_robomimic(tmp_path / "b.hdf5", demos=1, env_args=other)

    first, second = discovered(tmp_path).records

    assert first.problem is None
    assert second.problem.reason == "other_robot"
    assert "'Panda OSC_POSE 0.1'" in second.problem.message


def test_a_broken_file_among_others_is_one_record_with_its_reason(tmp_path):
    write_robomimic(tmp_path / "a.hdf5", demos=2)
    (tmp_path / "b.hdf5").write_bytes(b"nothing")

    problems = [record.problem for record in discovered(tmp_path).records]

    assert problems[:2] == [None, None]
    assert problems[2].reason == "unreadable_hdf5"


@pytest.mark.parametrize(
    ("attrs", "robot", "rate_hz"),
    [
        ({"env_args": json.dumps(ENV_ARGS)}, "Panda OSC_POSE 0.05 0.5", 20.0),
        ({"env_args": '{"env_name": "Isaac-Reach-v0", "type": 2}'}, "Isaac-Reach-v0", None),
        ({"env_args": '{"env_name": "X", "sim_args": {"dt": 0.01, "decimation": 2}}'}, "X", 50.0),
        ({"env_args": "{"}, None, None),
        ({"env_args": "[" * 100_000}, None, None),
        ({}, None, None),
    ],
)
def test_the_environment_tells_robot_and_rate(attrs, robot, rate_hz):
    found = environment_of(attrs)
    assert (found.robot, found.rate_hz) == (robot, rate_hz)


def test_words_are_the_demos_own_or_the_files_or_the_environments_name():
    problem = {"problem_info": '{"language_instruction": "open the drawer"}', "env_args": '{"env_name": "LiftCube"}'}
    assert environment_of(problem).words_for({"lang": b"lift it"}) == ("lift it", [])
    assert environment_of(problem).words_for({}) == ("open the drawer", [])
    guess, notes = environment_of({"env_args": '{"env_name": "LiftCube"}'}).words_for({})
    assert guess == "lift cube"
    assert "'LiftCube'" in notes[0]


def test_success_is_what_the_demo_says_and_long_attributes_are_named(tmp_path):
    write_robomimic(tmp_path / "a.hdf5", attrs={"success": True, "model_file": "<mujoco>" * 100, "seed": 3})

    raw = read(tmp_path)

    assert raw.success is True
    assert "seed: 3" in raw.notes
    assert raw.not_stored["attribute model_file"] == 1


def test_the_same_demo_in_another_file_is_the_same_episode(tmp_path):
    write_robomimic(tmp_path / "a.hdf5", demos=2)
    write_robomimic(tmp_path / "b.hdf5", demos=1, first=1)

    digests = [read(tmp_path, index).digest for index in range(3)]

    assert digests[1] == digests[2] != digests[0]


def test_another_picture_makes_another_episode(tmp_path):
    path = write_robomimic(tmp_path / "a.hdf5")
    before = read(tmp_path).digest
    with h5py.File(path, "a") as file:
        file["data/demo_0/obs/robot0_eye_in_hand_image"][5, 0, 0, 0] += 9
    assert read(tmp_path).digest != before


def test_a_remote_file_is_read_where_it_lies(tmp_path):
    path = write_robomimic(tmp_path / "a.hdf5")
    fsspec.filesystem("memory").pipe("/robomimic-test/a.hdf5", path.read_bytes())
    location = Location.of("memory://robomimic-test")

    raw = robomimic.read(location, robomimic.discover(location).records[1])

    assert raw.digest == read(tmp_path, 1).digest
    assert len(list(raw.pictures["robot0_eye_in_hand_image"])) == T


def test_the_robots_of_the_two_simulators_are_known(tmp_path):
    write_robomimic(tmp_path / "panda/a.hdf5", demos=1)
    write_robomimic(
        tmp_path / "indy/a.hdf5", demos=1, env_args='{"env_name": "Isaac-Reach-Indy7-IK-Rel-v0", "type": 2}'
    )
    assert find_embodiment(discovered(tmp_path / "panda"), None).name == "panda_sim"
    assert find_embodiment(discovered(tmp_path / "indy"), None).name == "indy7"


def test_what_the_file_says_of_all_its_demos_is_part_of_their_digest(tmp_path):
    write_robomimic(tmp_path / "a/demos.hdf5")
    slower = ENV_ARGS | {"env_kwargs": ENV_ARGS["env_kwargs"] | {"control_freq": 10}}
    write_robomimic(tmp_path / "b/demos.hdf5", env_args=slower)
    assert read(tmp_path / "a").digest != read(tmp_path / "b").digest
