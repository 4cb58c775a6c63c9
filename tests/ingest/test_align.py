"""Alignment: streams with their own clocks become frames of one, by the rule of each signal, or are refused."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.align import align
from ingest.record import RawEpisode
from ingest.standardize import parse_expression
from schema.embodiment import Embodiment, SourceBinding, parse_embodiment
from schema.errors import EpisodeError
from schema.picture import encode_jpeg
from tests.ingest.writers import picture

TABLE = """
name = "arm"
title = "Arm"
rate_hz = 10
default_action_space = "all"
cameras = [{ name = "base", role = "exterior" }]
[[signals]]
name = "state.joint_position"
part = "left"
quantity = "joint_position"
unit = "rad"
frame = "joint"
mode = "absolute"
dims = ["a", "b"]
[[signals]]
name = "state.rotation"
part = "left"
quantity = "eef_rotation"
unit = "1"
frame = "base"
mode = "absolute"
rotation = "quaternion_xyzw"
dims = ["x", "y", "z", "w"]
[[signals]]
name = "state.gripper"
part = "left"
quantity = "gripper"
unit = "1"
frame = "fraction"
mode = "absolute"
dims = ["gripper"]
[[signals]]
name = "action.joint_position"
part = "left"
quantity = "joint_position"
unit = "rad"
frame = "joint"
mode = "MODE"
dims = ["a", "b"]
[[action_spaces]]
name = "all"
state = ["state.joint_position", "state.rotation", "state.gripper"]
action = ["action.joint_position"]
"""
SIGNALS = {
    "state.joint_position": "joints",
    "state.rotation": "pose[x,y,z,w]",
    "state.gripper": "gripper",
    "action.joint_position": "command",
}


def arm(mode: str = "absolute") -> Embodiment:
    return parse_embodiment(TABLE.replace("MODE", mode), where="here")


def turn(angle_N: np.ndarray) -> np.ndarray:
    """Quaternions of turns about z."""
    zero = np.zeros_like(angle_N)
    return np.stack([zero, zero, np.sin(angle_N / 2), np.cos(angle_N / 2)], axis=1)


def raw(clocks: dict[str, Any], **extra: np.ndarray) -> RawEpisode:
    """An arm whose joints move as time, which turns at one radian a second and closes its gripper at 0.5 s."""
    clocks = {name: np.asarray(times, np.float64) for name, times in clocks.items()}
    ways = {
        "joints": lambda t: np.stack([t, 2 * t], axis=1),
        "pose": turn,
        "gripper": lambda t: (t >= 0.5).astype(np.float32)[:, None],
        "command": lambda t: np.stack([t + 1, 2 * t + 1], axis=1),
    }
    fields = {name: ways[name](clocks[name]) for name in ways} | extra
    jpegs = [encode_jpeg(picture(number)) for number in range(len(clocks["camera"]))]
    return RawEpisode(
        digest="0" * 32, fields=fields, names={"pose": ("x", "y", "z", "w")}, clocks=clocks, pictures={"camera": jpegs}
    )


def aligned(raw_episode: RawEpisode, *, mode: str = "absolute", **changes: Any) -> RawEpisode:
    binding = SourceBinding.model_validate({"signals": SIGNALS, "cameras": {"base": "camera"}} | changes)
    fields = {name: parse_expression(text) for name, text in binding.signals.items()}
    return align(raw_episode, fields=fields, embodiment=arm(mode), binding=binding)


def steps(rate_hz: float, *, start: float = 0.0, stop: float = 2.0) -> np.ndarray:
    return start + np.arange(int((stop - start) * rate_hz) + 1) / rate_hz


def clocks(**changes: Any) -> dict[str, np.ndarray]:
    usual = {
        "joints": steps(50),
        "pose": steps(40, start=-0.011, stop=2.1),
        "gripper": np.array([-0.3, 0.5]),
        "command": steps(10, start=0.033),
        "camera": steps(15, start=-0.05),
    }
    return usual | changes


growing = st.lists(st.floats(0.001, 0.2), min_size=3, max_size=20).map(np.cumsum)


@settings(max_examples=30, deadline=None)
@given(times=growing)
def test_a_log_that_is_aligned_already_stays_as_it_is(times):
    before = raw(dict.fromkeys(("joints", "pose", "gripper", "command", "camera"), times))

    after = aligned(before)

    for name, values in before.fields.items():
        np.testing.assert_array_equal(after.fields[name], values)
        assert after.fields[name].dtype == values.dtype
    np.testing.assert_array_equal(after.timestamp_T, times - times[0])
    np.testing.assert_array_equal(after.camera_timestamps["camera"], after.timestamp_T)
    np.testing.assert_array_equal(after.fields["timestamp.state.gripper"], after.timestamp_T)
    assert list(after.pictures["camera"]) == before.pictures["camera"]
    assert after.clocks == {}


@settings(max_examples=30, deadline=None)
@given(gripper=growing, camera=growing, command=growing)
def test_what_is_held_never_looks_ahead_and_is_the_newest_there_is(gripper, camera, command):
    start = max(gripper[0], camera[0]) + 1e-3
    times = {"gripper": gripper, "camera": camera, "command": start + command}
    stop = times["command"][-1]
    whole = {"joints": np.array([-1.0, stop + 1]), "pose": np.array([-1.0, stop + 1])}

    after = aligned(raw(times | whole), max_gap_s=1000)

    zero = times["command"][0]
    for name, source in (("gripper", gripper), ("camera", camera)):
        told = after.camera_timestamps["camera"] if name == "camera" else after.fields["timestamp.state.gripper"]
        now = after.timestamp_T
        assert (told <= now).all()
        assert all(
            not ((source - zero > used) & (source - zero <= frame)).any() for used, frame in zip(told, now, strict=True)
        )


def test_numbers_between_two_samples_are_on_the_line_and_rotations_on_the_arc():
    after = aligned(raw(clocks()))

    times = after.timestamp_T + 0.033
    np.testing.assert_allclose(after.fields["joints"], np.stack([times, 2 * times], axis=1), atol=1e-12)
    np.testing.assert_allclose(after.fields["pose"], turn(times), atol=1e-12)
    np.testing.assert_array_equal(after.fields["gripper"][:, 0], times >= 0.5)
    np.testing.assert_allclose(after.fields["command"][:, 0], times + 1)


def test_frames_begin_where_every_stream_has_begun_and_what_is_cut_is_counted():
    after = aligned(raw(clocks(camera=steps(15, start=0.5))))

    assert after.timestamp_T[0] == 0
    assert after.fields["command"][0, 0] == pytest.approx(1.533)
    assert any("5 frames before every stream had begun" in note for note in after.notes)


def test_a_picture_is_told_by_its_own_time_and_skipped_or_shown_again_as_the_frames_need():
    log = raw(clocks(camera=steps(4, start=0.0)))

    after = aligned(log)

    shown = [list(log.pictures["camera"]).index(item) for item in after.pictures["camera"]]
    assert shown == [int(time * 4 + 1e-9) for time in after.timestamp_T + 0.033]
    np.testing.assert_allclose(after.camera_timestamps["camera"], np.array(shown) / 4 - 0.033, atol=1e-12)


def test_a_rate_makes_frames_at_equal_steps():
    after = aligned(raw(clocks()), clock=25.0)

    np.testing.assert_allclose(np.diff(after.timestamp_T), 0.04)
    assert len(after.timestamp_T) == 48  # from 0.033 s, where the commands begin, to 1.933 s, where they end


@pytest.mark.parametrize(("clock", "frames"), [("joints", 95), ("camera", 28), (None, 20)])
def test_the_clock_is_the_named_stream_or_camera_or_that_of_the_action(clock, frames):
    assert len(aligned(raw(clocks()), clock=clock).timestamp_T) == frames


def test_rate_jitter_and_gap_of_each_clock_are_told():
    notes = aligned(raw(clocks())).notes

    assert "clock of 'joints': 101 samples at 50 Hz, jitter 0.000 ms" in "\n".join(notes)
    assert sum(note.startswith("clock of") for note in notes) == 5


HOLED = np.concatenate([steps(50, stop=0.8), steps(50, start=1.5)])


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("joints", "0.700 s from 0.767"),
        ("pose", "0.700 s from 0.767"),
        ("camera", "0.633 s from 0.767"),  # how old it was when it was last shown
        ("command", "0.700 s from 0.800"),
    ],
)
def test_a_hole_in_a_stream_is_refused_with_its_place_and_length(name, place):
    with pytest.raises(EpisodeError, match=f"'{name}' says nothing for {place} s on") as caught:
        aligned(raw(clocks(**{name: HOLED})))
    assert caught.value.reason == "clock_gap"


@pytest.mark.parametrize("name", ["joints", "camera"])
def test_a_stream_that_ends_long_before_the_others_is_refused(name):
    with pytest.raises(EpisodeError, match=f"'{name}' says nothing") as caught:
        aligned(raw(clocks(**{name: steps(50, stop=1.0)})))
    assert caught.value.reason == "clock_gap"


def test_the_limit_is_the_bindings():
    assert len(aligned(raw(clocks(joints=HOLED)), max_gap_s=0.71).timestamp_T) == 20


def test_a_gripper_may_be_silent_for_any_time():
    assert len(aligned(raw(clocks(gripper=[0.0]))).timestamp_T) == 20


def test_streams_that_never_meet_are_refused():
    with pytest.raises(EpisodeError, match="share a time base") as caught:
        aligned(raw(clocks(camera=steps(15, start=1000, stop=1002))))
    assert caught.value.reason == "clock_gap"


def test_samples_that_come_late_or_twice_are_left_out_and_counted():
    times = steps(50)
    times[[10, 20]] = times[[9, 18]]

    after = aligned(raw(clocks(joints=times)))

    assert any("2 of 101 samples of 'joints' come late or twice" in note for note in after.notes)


def test_a_clock_that_runs_backwards_is_refused():
    with pytest.raises(EpisodeError, match="expected time to grow") as caught:
        aligned(raw(clocks(joints=steps(50)[::-1])))
    assert caught.value.reason == "bad_timestamps"


def test_deltas_are_not_interpolated():
    with pytest.raises(EpisodeError, match="another clock than the frames") as caught:
        aligned(raw(clocks()), mode="delta", clock="joints")
    assert caught.value.reason == "delta_off_clock"
    assert len(aligned(raw(clocks()), mode="delta").timestamp_T) == 20


def test_an_unbound_stream_is_resampled_where_it_lasts_and_counted_where_it_does_not():
    times = clocks(battery=np.array([-1.0]), late=steps(50, start=1.0), force=steps(100, start=-0.5, stop=3))
    extra = {"battery": np.array([[7]]), "late": np.zeros((51, 1)), "force": times["force"][:, None]}

    after = aligned(raw(times, **extra))

    np.testing.assert_array_equal(after.fields["battery"], np.full((20, 1), 7))
    np.testing.assert_allclose(after.fields["force"][:, 0], after.timestamp_T + 0.033)
    assert after.not_stored == {"late": 51}
    assert "late" not in after.fields


def test_a_bound_stream_that_is_not_there_is_named():
    episode = raw(clocks())
    del episode.fields["command"]  # type: ignore[attr-defined]

    with pytest.raises(EpisodeError, match="'command' is bound") as caught:
        aligned(episode)
    assert caught.value.reason == "missing_field"


def test_a_clock_that_is_not_there_is_named():
    with pytest.raises(EpisodeError, match="the clock 'nothing' is none of"):
        aligned(raw(clocks()), clock="nothing")
