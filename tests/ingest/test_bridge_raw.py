"""BridgeData V2 as recorded: trajectories of pickles and pictures, aligned, and those whose parts do not fit."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from ingest.detect import find_embodiment
from schema.errors import EpisodeError
from tests.ingest.raw_writers import bridge_pickles, write_bridge
from tests.ingest.taking import discovered, read, take
from tests.ingest.test_safe_pickle import Program
from tests.ingest.writers import INSTRUCTION, T


def reason_of(folder, index=0):
    with pytest.raises(EpisodeError) as caught:
        take(folder, index)
    return caught.value.reason, str(caught.value)


def test_each_trajectory_is_a_record_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 2):
        write_bridge(tmp_path, number=number, cameras=1)

    discovery = discovered(tmp_path)

    assert [Path(record.files[0]).parent.name for record in discovery.records] == ["traj2", "traj10"]
    assert find_embodiment(discovery, None).name == "widowx"
    assert discovery.rate_hz == 5
    assert "obs_dict/full_state" in [field.path for field in discovery.fields]


def test_an_action_goes_with_the_observation_before_it(tmp_path):
    write_bridge(tmp_path)
    written = bridge_pickles()

    episode = take(tmp_path)

    np.testing.assert_array_equal(episode.signals["state.eef_position"], written["obs_dict"]["full_state"][:T, :3])
    np.testing.assert_array_equal(
        episode.signals["action.gripper"][:, 0], [1 - step["actions"][6] for step in written["policy_out"]]
    )
    np.testing.assert_allclose(episode.timestamp_T, 0.2 * np.arange(T), atol=1e-6)
    assert "the last observation follows the last action and is left out" in episode.provenance.notes


def test_before_the_cameras_lag_was_mended_it_goes_with_the_next_one(tmp_path):
    write_bridge(tmp_path, day="2021-07-22_10-00-00")
    written = bridge_pickles()

    episode = take(tmp_path)

    assert episode.num_frames == T - 1
    np.testing.assert_array_equal(episode.signals["state.eef_position"], written["obs_dict"]["full_state"][1:T, :3])
    np.testing.assert_array_equal(episode.signals["action.eef_position"][0], written["policy_out"][0]["actions"][:3])
    assert any("one step later" in note for note in episode.provenance.notes)
    assert all(len(pictures) == T - 1 for pictures in episode.cameras.values())


def test_pictures_that_fit_are_stored_byte_for_byte(tmp_path):
    folder = write_bridge(tmp_path)
    written = [(folder / f"images1/im_{step}.jpg").read_bytes() for step in range(T)]

    episode = take(tmp_path)

    assert [picture.jpeg for picture in episode.cameras["exterior_1"]] == written


def test_views_that_were_not_recorded_are_absent(tmp_path):
    write_bridge(tmp_path, cameras=1)
    assert take(tmp_path).absent_cameras == dict.fromkeys(["exterior_1", "exterior_2", "left_wrist"], "not_in_log")


def test_numbers_that_nobody_binds_are_kept_and_the_rest_is_named(tmp_path):
    folder = write_bridge(tmp_path)
    (folder / "depth_images0").mkdir()
    for step in range(T + 1):
        (folder / f"depth_images0/im_{step}.png").write_bytes(b"x")

    episode = take(tmp_path)

    assert {"obs_dict/qpos", "obs_dict/time_stamp"} <= set(episode.extras)
    assert episode.not_stored["depth_images0"] == T + 1
    assert episode.not_stored["obs_dict/high_bound"] == 5
    assert "policy_out/policy_type" in episode.not_stored


def test_bare_actions_are_read_like_those_in_dicts(tmp_path):
    actions = [step["actions"] for step in bridge_pickles()["policy_out"]]
    write_bridge(tmp_path, policy_out=actions)
    np.testing.assert_array_equal(take(tmp_path).signals["action.eef_position"], np.stack(actions)[:, :3])


@pytest.mark.parametrize(
    ("lang", "texts"),
    [
        (f"{INSTRUCTION}\nconfidence: 1\n", [INSTRUCTION]),
        ("one\ntwo\none\n", ["one", "two"]),
        ("confidence: 0.5\n", ["set table"]),
        (None, ["set table"]),
    ],
)
def test_words_are_lines_of_lang_txt_or_the_name_of_the_task(tmp_path, lang, texts):
    write_bridge(tmp_path, lang=lang)

    raw = read(tmp_path)

    assert [instruction.text for instruction in raw.instructions] == texts
    assert any("'set_table'" in note for note in raw.notes) == (texts == ["set table"])
    assert raw.scene == "toykitchen2"


def test_a_program_in_a_pickle_is_refused_by_name_and_the_others_go_on(tmp_path):
    write_bridge(tmp_path, number=0, obs_dict=pickle.dumps({"full_state": Program()}))
    write_bridge(tmp_path, number=1)

    reason, message = reason_of(tmp_path, 0)

    assert reason == "refused_pickle"
    assert "posix.system" in message
    assert "obs_dict.pkl" in message
    assert take(tmp_path, 1).num_frames == T


def test_a_program_in_what_nobody_needs_is_named_and_not_run(tmp_path):
    write_bridge(tmp_path, agent_data=pickle.dumps(Program()))

    raw = read(tmp_path)

    assert any("agent_data.pkl is not taken: the pickle asks for posix.system" in note for note in raw.notes)
    assert raw.not_stored["agent_data.pkl"] == 1


@pytest.mark.parametrize("name", ["obs_dict", "policy_out"])
def test_a_missing_pickle_is_known_before_it_is_read(tmp_path, name):
    write_bridge(tmp_path, number=0)
    write_bridge(tmp_path, number=1, **{name: None})

    problem = discovered(tmp_path).records[1].problem

    assert problem.reason == "missing_file"
    assert f"{name}.pkl" in problem.message


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"pictures": 3}, "frame_count_mismatch"),
        ({"obs_dict": {"full_state": np.zeros((3, 7))}}, "length_mismatch"),
        ({"obs_dict": {"other": np.zeros((T, 7))}}, "missing_field"),
        ({"policy_out": [{"other": 1}]}, "missing_field"),
        ({"policy_out": []}, "missing_field"),
        ({"obs_dict": {"full_state": np.full((T + 1, 7), np.nan)}}, "not_finite"),
        ({"obs_dict": b"cut"}, "unreadable_pickle"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(tmp_path, changes, reason):
    write_bridge(tmp_path, **changes)
    assert reason_of(tmp_path)[0] == reason


def test_a_gap_among_the_pictures_is_not_closed_up(tmp_path):
    folder = write_bridge(tmp_path)
    (folder / "images0/im_2.jpg").rename(folder / "images0/im_99.jpg")
    assert reason_of(tmp_path)[0] == "missing_picture"


def test_pictures_that_arrive_later_make_it_another_record(tmp_path):
    folder = write_bridge(tmp_path, pictures=3)
    before = discovered(tmp_path).records[0].files
    (folder / "images0/im_3.jpg").write_bytes(b"x")
    assert discovered(tmp_path).records[0].files != before


def test_the_digest_is_of_all_files(tmp_path):
    folder = write_bridge(tmp_path)
    before = read(tmp_path).digest
    (folder / "images1/im_0.jpg").write_bytes((folder / "images1/im_1.jpg").read_bytes())
    assert read(tmp_path).digest != before
