import numpy as np
import pytest

from fleet import faults
from fleet.episode import simulate
from fleet.faults import plant
from fleet.record import record
from fleet.recording import pictures
from fleet.robots import BIMANUAL_UR5E, UR5E_TABLETOP
from schema.errors import ConfigError

NUMBERS = ("state_TD", "action_TD", "velocity_TD", "effort_TD", "time_T", "true_T")


@pytest.fixture(scope="module")
def clean():
    return simulate(BIMANUAL_UR5E, seed=2, index=0)


def _changed(clean, faulty):
    """Which numbers and cameras of a log differ."""
    numbers = {name for name in NUMBERS if not np.array_equal(getattr(clean, name), getattr(faulty, name))}
    cameras = {name for name in clean.picture_T if not np.array_equal(clean.picture_T[name], faulty.picture_T[name])}
    return numbers | cameras


@pytest.mark.parametrize("fault", faults.FAULTS)
def test_the_same_log_is_wrong_in_the_same_way(clean, fault):
    first, second = plant(fault, clean), plant(fault, clean)

    assert not _changed(first, second)
    assert _changed(clean, first)


@pytest.mark.parametrize("fault", [name for name in faults.FAULTS if name != "dropped_frames"])
def test_what_really_happened_stays(clean, fault):
    faulty = plant(fault, clean)

    assert faulty.trajectory is clean.trajectory
    assert faulty.command_TD is clean.command_TD


def test_an_inverted_gripper_is_so_in_state_and_action(clean):
    faulty = plant("gripper_inverted", clean)

    for name in ("state_TD", "action_TD"):
        was, now = getattr(clean, name), getattr(faulty, name)
        np.testing.assert_allclose(now[:, [6, 13]], 1 - was[:, [6, 13]])
        np.testing.assert_array_equal(np.delete(now, [6, 13], 1), np.delete(was, [6, 13], 1))


def test_an_inverted_gripper_command_goes_against_the_state(clean):
    faulty = plant("gripper_command_inverted", clean)

    assert _changed(clean, faulty) == {"action_TD"}
    np.testing.assert_allclose(faulty.action_TD[:, 6], 1 - clean.action_TD[:, 6])


def test_swapped_arms_exchange_their_numbers_and_not_their_pictures(clean):
    faulty = plant("arms_swapped", clean)

    np.testing.assert_array_equal(faulty.state_TD[:, :7], clean.state_TD[:, 7:])
    np.testing.assert_array_equal(faulty.action_TD[:, 7:], clean.action_TD[:, :7])
    assert _changed(clean, faulty).isdisjoint(clean.picture_T)


def test_degrees_are_in_joints_and_not_in_grippers(clean):
    faulty = plant("degrees", clean)

    np.testing.assert_allclose(np.radians(faulty.action_TD[:, :6]), clean.action_TD[:, :6], atol=1e-5)
    np.testing.assert_array_equal(faulty.action_TD[:, 6], clean.action_TD[:, 6])


def test_dropped_frames_leave_gaps_in_time(clean):
    faulty = plant("dropped_frames", clean)

    assert 0.7 * len(clean) < len(faulty) < 0.9 * len(clean)
    assert np.diff(faulty.time_T).max() > 1.9 / 20
    assert set(faulty.time_T) < set(clean.time_T)
    kept = np.searchsorted(clean.time_T, faulty.time_T)
    np.testing.assert_array_equal(faulty.action_TD, clean.action_TD[kept])


def test_a_drifting_clock_leaves_the_rest_alone(clean):
    faulty = plant("clock_drift", clean)

    assert _changed(clean, faulty) == {"time_T"}
    assert faulty.time_T[-1] / clean.time_T[-1] == pytest.approx(1.08)


def test_lagging_images_show_what_was(clean):
    faulty = plant("image_lag", clean)
    lag = int(20 - faulty.picture_T["base"][20])

    was, now = (list(pictures(episode, "base", image_size=24)) for episode in (clean, faulty))

    assert 0.25 < lag / 20 < 0.45
    np.testing.assert_array_equal(now[lag + 15], was[15])
    np.testing.assert_array_equal(now[0], was[0])


def test_one_camera_freezes(clean):
    faulty = plant("frozen_camera", clean)

    (camera,) = _changed(clean, faulty)
    shown = list(pictures(faulty, camera, image_size=24))
    assert all(np.array_equal(shown[-1], picture) for picture in shown[len(shown) // 3 :])


def test_a_cut_file_is_shorter_and_the_others_are_whole(tmp_path):
    whole = record("widowx", out=tmp_path / "whole", num_episodes=2, seed=1, image_size=16)
    cut = record("widowx", out=tmp_path / "cut", num_episodes=2, seed=1, image_size=16, fault="cut_file")

    sizes = [{str(p.relative_to(f)): p.stat().st_size for p in f.rglob("*") if p.is_file()} for f in (whole, cut)]
    shorter = {name for name in sizes[0] if sizes[0][name] != sizes[1][name]}
    assert sizes[0].keys() == sizes[1].keys()
    assert len(shorter) == 1
    assert all(sizes[1][name] < 0.8 * sizes[0][name] for name in shorter)


@pytest.mark.parametrize("fault", ["degrees", "image_lag"])
def test_a_log_says_nothing_of_its_fault(tmp_path, fault):
    whole = record("ur5e", out=tmp_path / "whole", num_episodes=1, seed=1, image_size=16)
    faulty = record("ur5e", out=tmp_path / "faulty", num_episodes=1, seed=1, image_size=16, fault=fault)

    told = ("episodes.jsonl", "tasks.jsonl", "info.json")
    assert all((whole / "meta" / name).read_bytes() == (faulty / "meta" / name).read_bytes() for name in told)
    assert not any(fault.encode() in path.read_bytes() for path in faulty.rglob("*") if path.is_file())


def test_a_dropped_frame_is_missing_from_every_stream_of_an_mcap(tmp_path):
    sizes = [
        record("ur5e", out=tmp_path / str(fault), num_episodes=1, seed=1, image_size=16, log_format="mcap", fault=fault)
        .joinpath("episode_000000.mcap")
        .stat()
        .st_size
        for fault in (None, "dropped_frames")
    ]

    assert sizes[1] < 0.95 * sizes[0]


@pytest.mark.parametrize(
    ("fault", "robot", "form", "message"),
    [
        ("gremlins", UR5E_TABLETOP, "mcap", "there is no fault 'gremlins'"),
        ("arms_swapped", UR5E_TABLETOP, "mcap", "needs two arms"),
        ("clock_drift", BIMANUAL_UR5E, "aloha_hdf5", "needs time stamps"),
    ],
)
def test_a_fault_that_cannot_be_there_is_refused(fault, robot, form, message):
    with pytest.raises(ConfigError, match=message):
        faults.check(fault, robot, form)
