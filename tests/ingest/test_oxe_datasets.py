"""Datasets of Open X-Embodiment, tiny and on disk, taken end to end: gripper's sense, units, rotations, cameras."""

from dataclasses import dataclass

import numpy as np
import pytest

from ingest.detect import detect, find_embodiment
from ingest.location import Location
from ingest.oxe.table import entries
from ingest.standardize import source_frames, standardize
from schema.errors import EpisodeError
from schema.picture import ImageSettings, decode_jpeg
from tests.ingest.oxe_writer import STEPS, cameras_of, fields_of, write_dataset
from tests.ingest.writers import INSTRUCTION


def take(folder):
    """The first episode below a folder, by the embodiment that its name finds."""
    location = Location.of(str(folder))
    reader, discovery = detect(location, None)
    embodiment = find_embodiment(discovery, None)
    return standardize(
        source_frames(
            reader.read(location, discovery.records[0]), embodiment=embodiment, binding=embodiment.sources["rlds"]
        ),
        embodiment=embodiment,
        binding=embodiment.sources["rlds"],
        source="oxe",
        settings=ImageSettings(),
        record=discovery.records[0],
        location=location,
        adapter=(reader.NAME, reader.VERSION),
    )


def taken(tmp_path, name, *, changes=None, **options):
    """An episode of the entry of that name; `changes` put other numbers into some streams."""
    entry = entries()[name]
    fields = fields_of(entry) | (changes or {})
    write_dataset(tmp_path, name, fields=fields, cameras=cameras_of(entry), **options)
    return fields, take(tmp_path)


def column(*values):
    return np.array(values, np.float32)[:, None]


@dataclass(frozen=True)
class Case:
    """What one dataset's log says of its gripper, and what is to come of it and of the rest."""

    name: str
    gripper: str
    """The stream of the command, with the column where it has several."""
    told: list[float]
    closed: list[float]
    """Of the frames that are kept: `bridge_orig` drops its first."""
    rotation: str
    """The form of the commanded rotation, by its signal."""
    rate_hz: float
    cameras: set[str]


CLOSEDNESS = "action/gripper_closedness_action"
OPENING, CLOSING, CLOSED = [1, 1, 0, 0, 1], [-1, -1, 1, 1, -1], [0, 0, 1, 1, 0]
ONE, TWO, THREE = {"base"}, {"base", "left_wrist"}, {"base", "exterior_1", "left_wrist"}
SUFFIX = "_converted_externally_to_rlds"
CASES = [
    Case("fractal20220817_data", CLOSEDNESS, [0, -1, 0, 1, 0], [1, 0, 0, 1, 1], "eef_rotation", 3, ONE),
    Case("bridge_dataset", "action:6", [1, 0.5, 0, 0, 1], [0, 0.5, 1, 1, 0], "eef_rotation", 5, TWO),
    Case("bridge_orig", "action:6", [1, 0.5, 0, 0, 1], [1, 1, 1, 0], "eef_rotation", 5, TWO),
    Case("taco_play", "action/rel_actions_world:6", [1, 1, -1, -1, 1], CLOSED, "eef_rotation_scaled", 15, TWO),
    Case("jaco_play", CLOSEDNESS, [0, 0, 1, 0, -1], CLOSED, "", 10, TWO),
    Case("berkeley_cable_routing", "", [], [], "eef_angular_velocity", 10, THREE),
    Case("roboturk", CLOSEDNESS, [-1, 0, 0.4, 1, 1], [0, 0, 0.4, 1, 1], "eef_rotation", 10, ONE),
    Case("viola", CLOSEDNESS, CLOSING, CLOSED, "eef_rotation_vector_scaled", 20, TWO),
    Case("berkeley_autolab_ur5", CLOSEDNESS, [0, 1, 0, -1, 0], [0, 1, 1, 0, 0], "eef_rotation", 5, TWO),
    Case("toto", "action/open_gripper", OPENING, CLOSED, "eef_rotation", 30, ONE),
    Case(f"maniskill_dataset{SUFFIX}", "action:6", [1, 1, -1, -1, 1], CLOSED, "eef_rotation_vector", 20, TWO),
    Case(f"stanford_mask_vit{SUFFIX}", "action:4", CLOSING, CLOSED, "eef_rotation", 5, ONE),
    Case(f"iamlab_cmu_pickup_insert{SUFFIX}", "action:7", OPENING, CLOSED, "eef_rotation", 20, TWO),
    Case("droid", "action_dict/gripper_position", CLOSED, CLOSED, "eef_rotation", 15, THREE),
    Case("libero_10_no_noops", "action:6", CLOSING, CLOSED, "eef_rotation_vector", 20, TWO),
    Case("tdroid_flip_pot_upright", "action:6", [1, 0.4, 0, 0.6, 1], [0, 1, 1, 0, 0], "eef_rotation", 5, ONE),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_dataset_is_taken_with_its_gripper_turned_to_closed(case, tmp_path):
    changes = {}
    if case.gripper:
        path, _, index = case.gripper.partition(":")
        changes[path] = fields_of(entries()[case.name])[path]
        changes[path].reshape(STEPS, -1)[:, int(index or 0)] = case.told
    _, episode = taken(tmp_path, case.name, changes=changes)

    if case.gripper:
        np.testing.assert_allclose(episode.signals["action.gripper"][:, 0], case.closed, atol=1e-6)
    else:
        assert "action.gripper" not in episode.signals
    assert (f"action.{case.rotation}" in episode.signals) == bool(case.rotation)
    assert set(episode.cameras) >= case.cameras
    assert np.diff(episode.timestamp_T) == pytest.approx(1 / case.rate_hz)
    assert episode.task == INSTRUCTION
    assert episode.embodiment.default_action_space in episode.action_spaces


def test_kukas_compressed_state_is_read_and_failures_are_left_out(tmp_path):
    pose = "observation/clip_function_input/base_pose_tool_reached"
    packed = (pose, "observation/gripper_closed")

    fields, episode = taken(tmp_path / "good", "kuka", context={"success": True}, packed=packed)

    np.testing.assert_array_equal(episode.signals["state.eef_quaternion"], fields[pose][:, 3:7])
    assert episode.success is True
    with pytest.raises(EpisodeError, match="says that it failed") as caught:
        taken(tmp_path / "bad", "kuka", context={"success": False}, packed=packed)
    assert caught.value.reason == "not_successful"
    with pytest.raises(EpisodeError, match="does not say whether"):
        taken(tmp_path / "mute", "kuka", packed=packed)


def test_the_first_frame_of_bridge_is_dropped_where_the_entry_says_so_and_that_is_noted(tmp_path):
    fields, episode = taken(tmp_path, "bridge_oxe", changes={"action/open_gripper": np.array([0, 1, 1, 0, 0], bool)})

    np.testing.assert_array_equal(episode.signals["state.eef_position"], fields["observation/state"][1:, :3])
    np.testing.assert_array_equal(episode.signals["action.gripper"][:, 0], [0, 0, 1, 1])
    assert len(episode.cameras["base"]) == STEPS - 1
    assert "the first frame of each episode: dropped" in episode.provenance.notes


def test_bridge_from_its_makers_keeps_its_first_frame_and_its_opening_as_recorded(tmp_path):
    fields, episode = taken(tmp_path, "bridge_dataset")

    assert episode.num_frames == STEPS
    np.testing.assert_allclose(episode.signals["action.gripper"], 1 - fields["action"][:, 6:7], atol=1e-6)


def test_pictures_stored_as_bgr_are_turned_and_others_are_not(tmp_path):
    _, episode = taken(tmp_path, "berkeley_autolab_ur5")

    base, wrist = (decode_jpeg(episode.cameras[name][0].jpeg) for name in ("base", "left_wrist"))

    assert base[16, 4, 0] > 150 > base[16, 4, 2]  # the writer's picture is red on the left
    assert wrist[16, 4, 2] > 150 > wrist[16, 4, 0]
    assert "red and blue are exchanged in the pictures of left_wrist" in episode.provenance.notes


def test_language_tables_words_are_read_from_its_bytes(tmp_path):
    words = "push the red cube"
    codes = np.zeros((STEPS, 512), np.int32)
    codes[:, : len(words)] = list(words.encode())

    _, episode = taken(tmp_path, "language_table", changes={"observation/instruction": codes}, language=None)

    assert (episode.task, [item.text for item in episode.instructions]) == (words, [words])
    assert episode.signals["action.eef_position_xy"].shape == (STEPS, 2)
    assert "action.gripper" not in episode.signals
    assert "observation/instruction" not in episode.not_stored


def test_droids_normalized_velocities_become_radians_per_second(tmp_path):
    velocity = np.full((STEPS, 7), 0.5)

    _, episode = taken(tmp_path, "droid", changes={"action_dict/joint_velocity": velocity})

    np.testing.assert_allclose(episode.signals["action.joint_velocity"], 1.5)
    assert episode.signals["action.joint_velocity"].dtype == np.float64
    assert set(episode.action_spaces) == {"joint_velocity", "joint_position", "eef_velocity", "eef_position"}


def test_droid_says_by_its_folder_whether_it_succeeded(tmp_path):
    path = "/logs/lab/failure/2023-01-01/one/trajectory.h5"

    _, episode = taken(tmp_path, "droid", context={"episode_metadata/file_path": path})

    assert episode.success is False


def test_maniskills_commands_become_metres_and_its_quaternion_has_its_real_part_last(tmp_path):
    fields, episode = taken(tmp_path, "maniskill_dataset_converted_externally_to_rlds")

    np.testing.assert_allclose(episode.signals["action.eef_position"], fields["action"][:, :3] / 10, rtol=1e-6)
    pose = fields["observation/tcp_pose"]
    np.testing.assert_array_equal(episode.signals["state.eef_world_quaternion"], pose[:, [4, 5, 6, 3]])
    assert episode.is_simulated is True


def test_a_state_that_nobody_recorded_is_the_command_of_the_frame_before(tmp_path):
    told = column(0, 1, 1, 0, 0)

    _, episode = taken(tmp_path, "roboturk", changes={CLOSEDNESS: told})

    np.testing.assert_array_equal(episode.signals["state.commanded_gripper"][:, 0], [0, 0, 1, 1, 0])


def test_both_arms_of_two_are_taken(tmp_path):
    fields, episode = taken(tmp_path, "utokyo_xarm_bimanual_converted_externally_to_rlds")

    np.testing.assert_array_equal(episode.signals["action.left_eef_position"], fields["action"][:, :3])
    np.testing.assert_array_equal(episode.signals["action.right_eef_position"], fields["action"][:, 7:10])
    assert episode.embodiment.signal("action.right_gripper").part == "right"


@pytest.mark.parametrize("name", sorted(entries()))
def test_every_dataset_is_taken_whole(name, tmp_path):
    entry = entries()[name]
    changes = {} if entry.instruction is None else {entry.instruction: np.zeros((STEPS, 512), np.int32)}

    _, episode = taken(tmp_path, name, changes=changes, context={"success": True})

    for signal in (episode.embodiment.signal(signal) for signal in entry.signals):
        assert episode.signals[signal.name].shape == (STEPS - entry.drop_first, signal.width)
    assert set(episode.cameras) == set(entry.cameras) | set(entry.optional_cameras)
    assert episode.embodiment.name == entry.robot
    assert entry.action_space in episode.action_spaces
    assert [note for note in episode.provenance.notes if note.startswith("doubt: ")] == [
        f"doubt: {doubt}" for doubt in entry.doubt
    ]
