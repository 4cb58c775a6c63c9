"""From raw episodes to Episodes: bindings, transforms, checks, cameras, and nothing left out in silence."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ingest.location import FileStamp, Location
from ingest.record import Problem, RawEpisode, Record
from ingest.standardize import parse_expression, source_frames, standardize
from ingest.transforms import TRANSFORMS, WIDTHS, columns_for
from schema.embodiment import SourceBinding, builtin_embodiments, load_embodiment
from schema.episode import Instruction
from schema.errors import ConfigError, EpisodeError
from schema.picture import ImageSettings, decode_jpeg, encode_jpeg
from tests.ingest.writers import T, picture

UR5E = load_embodiment("ur5e")
BINDING = UR5E.sources["lerobot"]
BASE, WRIST = BINDING.cameras["base"], BINDING.cameras["left_wrist"]
LOCATION = Location(uri="file:///logs", root="/logs", files={"e.parquet": FileStamp(size_bytes=1, version="1")})
RECORD = Record(index=4, files=("e.parquet",), byte_start=10, byte_stop=20)
FLOATS = arrays(np.float32, (4, 2), elements=st.floats(-10, 10, width=32))


def raw_episode(**changes):
    state = np.linspace(0, 1, T * 7, dtype=np.float32).reshape(T, 7)
    whole = RawEpisode(
        digest="d" * 32,
        fields={"observation.state": state, "action": state + 0.5},
        pictures={key: [picture(step) for step in range(T)] for key in (BASE, WRIST)},
        rate_hz=10.0,
        task="cup",
        instructions=(Instruction(text="put the cup away"),),
    )
    return replace(whole, **changes)


def take(raw=None, *, embodiment=UR5E, binding=BINDING, settings=None):
    return standardize(
        source_frames(raw or raw_episode(), embodiment=embodiment, binding=binding),
        embodiment=embodiment,
        binding=binding,
        source="tiny",
        settings=settings or ImageSettings(),
        record=RECORD,
        location=LOCATION,
        adapter=("lerobot", 1),
    )


def bound(**fields):
    """The binding with some signals bound otherwise; "__" stands for "."."""
    signals = BINDING.signals | {name.replace("__", "."): field for name, field in fields.items()}
    return BINDING.model_copy(update={"signals": signals})


def test_bound_columns_become_signals_and_pictures_become_jpeg():
    raw = raw_episode()

    episode = take(raw)

    np.testing.assert_array_equal(episode.signals["state.joint_position"], raw.fields["observation.state"][:, :6])
    np.testing.assert_array_equal(episode.signals["action.gripper"], raw.fields["action"][:, 6:])
    assert {name: len(pictures) for name, pictures in episode.cameras.items()} == {"base": T, "left_wrist": T}
    assert decode_jpeg(episode.cameras["base"][0].jpeg).shape == (32, 48, 3)
    assert (episode.episode_id, episode.task, episode.source) == ("d" * 32, "cup", "tiny")
    assert episode.action_spaces == ("joint_position",)
    assert (episode.extras, episode.not_stored, episode.absent_cameras) == ({}, {}, {})


def test_provenance_leads_back_to_the_bytes():
    provenance = take().provenance

    assert provenance.raw_uri == "file:///logs/e.parquet"
    assert (provenance.record_index, provenance.byte_start, provenance.byte_stop) == (4, 10, 20)
    assert (provenance.adapter, provenance.adapter_version) == ("lerobot", 1)


def test_time_starts_at_zero_by_the_nominal_rate_or_the_logs_clock():
    np.testing.assert_allclose(take().timestamp_T, np.arange(T) / 10)
    np.testing.assert_allclose(take(raw_episode(rate_hz=None)).timestamp_T, np.arange(T) / UR5E.rate_hz)
    clock = 100 + np.array([0, 0.1, 0.25, 0.3, 0.4, 0.5])

    episode = take(raw_episode(timestamp_T=clock))

    np.testing.assert_allclose(episode.timestamp_T, clock - 100)
    np.testing.assert_array_equal(episode.camera_timestamps["base"], episode.timestamp_T)


def test_a_clock_that_denies_the_claimed_rate_is_noted():
    episode = take(raw_episode(timestamp_T=np.arange(T) / 5))
    assert "claims 10 Hz, its timestamps run at 5 Hz" in episode.provenance.notes[0]


@pytest.mark.parametrize(("stored", "kept"), [("f4", "f4"), ("f8", "f8"), ("i8", "f4"), ("?", "f4"), ("f2", "f4")])
def test_floats_keep_their_type_and_others_become_float32(stored, kept):
    fields = {"observation.state": np.ones((T, 7), stored), "action": np.ones((T, 7), stored)}
    assert take(raw_episode(fields=fields)).signals["state.gripper"].dtype == np.dtype(kept)


def test_a_stream_without_width_can_be_bound_alone():
    fields = raw_episode().fields | {"grip": np.linspace(0, 1, T, dtype=np.float32)}

    episode = take(raw_episode(fields=fields), binding=bound(state__gripper="grip | invert_gripper"))

    np.testing.assert_allclose(episode.signals["state.gripper"][:, 0], 1 - np.linspace(0, 1, T), atol=1e-6)


def test_transforms_apply_from_left_to_right():
    fields = raw_episode().fields | {"grip": np.full((T, 1), 1.5, np.float32)}
    clipped = take(raw_episode(fields=fields), binding=bound(state__gripper="grip | clip_unit | invert_gripper"))
    inverted = take(raw_episode(fields=fields), binding=bound(state__gripper="grip | invert_gripper | clip_unit"))
    assert clipped.signals["state.gripper"][0, 0] == inverted.signals["state.gripper"][0, 0] == 0
    once = take(raw_episode(fields=fields), binding=bound(state__gripper="grip | invert_gripper"))
    assert once.signals["state.gripper"][0, 0] == -0.5


@given(FLOATS)
def test_turning_a_gripper_round_twice_gives_it_back(values):
    invert = TRANSFORMS["invert_gripper"][0]
    np.testing.assert_allclose(invert(invert(values)), values, atol=1e-6)


@given(FLOATS)
def test_clipping_holds_to_the_unit_and_changes_nothing_inside(values):
    clipped = TRANSFORMS["clip_unit"][0](values)
    assert clipped.min() >= 0
    assert clipped.max() <= 1
    np.testing.assert_array_equal(TRANSFORMS["clip_unit"][0](clipped), clipped)


def test_half_a_turn_is_pi():
    np.testing.assert_allclose(TRANSFORMS["degrees_to_radians"][0](np.array([[180.0, -90.0]])), [[np.pi, -np.pi / 2]])


@pytest.mark.parametrize("name", TRANSFORMS)
def test_every_transform_gives_its_width_keeps_the_type_and_says_what_it_does(name):
    function, told = TRANSFORMS[name]
    taken, given = WIDTHS.get(name, (2, 2))
    changed = function(np.ones((3, taken), np.float32))
    assert (changed.shape, changed.dtype) == ((3, given), np.float32)
    assert told


@pytest.mark.parametrize(
    ("width", "transforms", "columns"),
    [
        (2, (), 2),
        (3, ("invert_gripper", "tenth"), 3),
        (3, ("quaternion_to_euler",), 4),
        (3, ("quaternion_wxyz_to_xyzw", "quaternion_to_euler", "tenth"), 4),
        (2, ("quaternion_to_euler",), None),
    ],
)
def test_as_many_columns_are_needed_as_the_transforms_take(width, transforms, columns):
    assert columns_for(width, transforms) == columns


@pytest.mark.parametrize("name", sorted(builtin_embodiments()))
def test_every_field_of_the_builtin_tables_can_be_read(name):
    for binding in builtin_embodiments()[name].sources.values():
        for field in binding.signals.values():
            parse_expression(field)


def test_an_unknown_transform_lists_the_choices():
    with pytest.raises(ConfigError, match=r"unknown transforms \['flip'\]: choose from invert_gripper"):
        parse_expression("action[0:2] | flip")


def test_a_field_that_the_log_lacks_names_the_ones_it_has():
    with pytest.raises(EpisodeError, match=r"bound to 'grip', the log has \['action', 'observation.state'\]") as caught:
        take(binding=bound(state__gripper="grip"))
    assert caught.value.reason == "missing_field"


@pytest.mark.parametrize("field", ["action[6:8]", "action[0:2]", "action[7:8]", "action"])
def test_columns_of_another_width_are_a_mismatch(field):
    with pytest.raises(EpisodeError, match=r"state\.gripper has 1 dimensions") as caught:
        take(binding=bound(state__gripper=field))
    assert caught.value.reason == "width_mismatch"


def test_streams_of_different_length_are_named_with_their_lengths():
    fields = raw_episode().fields | {"action": np.zeros((T - 1, 7), np.float32)}

    with pytest.raises(EpisodeError, match=rf"action\.gripper {T - 1}.*state\.gripper {T}") as caught:
        take(raw_episode(fields=fields))
    assert caught.value.reason == "length_mismatch"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_names_signal_dimension_and_frame(value):
    action = np.zeros((T, 7), np.float32)
    action[3:, 2] = value

    with pytest.raises(
        EpisodeError, match=rf"action\.joint_position\.elbow is {value} at frame 3 \(3 of {T}"
    ) as caught:
        take(raw_episode(fields=raw_episode().fields | {"action": action}))
    assert caught.value.reason == "not_finite"


@pytest.mark.parametrize("frames", [0, 1])
def test_less_than_two_frames_are_too_short(frames):
    fields = {name: values[:frames] for name, values in raw_episode().fields.items()}
    with pytest.raises(EpisodeError, match=f"found {frames} frames, expected 2 or more") as caught:
        take(raw_episode(fields=fields))
    assert caught.value.reason == "too_short"


@pytest.mark.parametrize("clock", [[0, 1, 1, 2, 3, 4], [0, 1, 0.5, 2, 3, 4], [0, 1, np.nan, 2, 3, 4]])
def test_time_that_does_not_grow_names_the_frame(clock):
    with pytest.raises(EpisodeError, match=r"1\.0 s at frame 1") as caught:
        take(raw_episode(timestamp_T=np.array(clock, np.float64)))
    assert caught.value.reason == "bad_timestamps"


def test_values_far_outside_the_limits_are_noted_and_kept():
    state = np.zeros((T, 7), np.float32)
    state[2, 6] = 40

    episode = take(raw_episode(fields=raw_episode().fields | {"observation.state": state}))

    assert "state.gripper.gripper runs from 0 to 40 1, far outside [0, 1] in 1 frames" in episode.provenance.notes
    assert episode.signals["state.gripper"][2, 0] == 40


def test_unclaimed_streams_are_extras_and_wide_ones_are_named_as_not_stored():
    fields = raw_episode().fields | {
        "reward": np.zeros(T),
        "effort": np.zeros((T, 8, 8)),
        "embedding": np.zeros((T, 65)),
        "short": np.zeros(T - 1),
        "frame_index": np.arange(T),
    }

    episode = take(raw_episode(fields=fields, not_stored={"depth": T}))

    assert set(episode.extras) == {"reward", "effort"}
    assert episode.not_stored == {"depth": T, "embedding": T, "short": T - 1}


def test_a_stream_of_which_columns_are_left_over_is_kept_whole_as_an_extra():
    fields = {name: np.pad(values, ((0, 0), (0, 1))) for name, values in raw_episode().fields.items()}

    episode = take(raw_episode(fields=fields))

    assert set(episode.extras) == {"observation.state", "action"}


def test_a_required_camera_that_is_missing_fails_with_the_logs_reason():
    absent = {BASE: Problem(reason="missing_video", message="no video at x.mp4")}
    raw = raw_episode(pictures={WRIST: raw_episode().pictures[WRIST]}, absent=absent)

    with pytest.raises(EpisodeError, match=r"no video at x\.mp4") as caught:
        take(raw)
    assert caught.value.reason == "missing_video"


def test_a_required_camera_that_the_log_never_had_names_the_ones_it_has():
    with pytest.raises(EpisodeError, match="camera 'base' is bound to") as caught:
        take(raw_episode(pictures={}))
    assert caught.value.reason == "missing_camera"


def test_an_optional_camera_that_is_missing_is_recorded_with_its_reason():
    optional = SourceBinding(signals=BINDING.signals, cameras={"base": BASE}, optional_cameras={"left_wrist": WRIST})
    pictures = {BASE: raw_episode().pictures[BASE]}
    absent = {WRIST: Problem(reason="missing_video", message="none")}

    assert take(raw_episode(pictures=pictures, absent=absent), binding=optional).absent_cameras == {
        "left_wrist": "missing_video"
    }
    assert take(raw_episode(pictures=pictures), binding=optional).absent_cameras == {"left_wrist": "not_in_log"}


def test_a_camera_that_the_source_never_has_is_absent():
    only = SourceBinding(signals=BINDING.signals, cameras={"base": BASE})

    episode = take(binding=only)

    assert episode.absent_cameras == {"left_wrist": "not_in_source"}
    assert episode.not_stored == {WRIST: T}


def test_a_black_camera_that_the_log_denies_is_not_in_the_log_and_others_are_trusted_by_their_pixels():
    black = [np.zeros((32, 48, 3), np.uint8)] * T

    episode = take(raw_episode(pictures={BASE: raw_episode().pictures[BASE], WRIST: black}, denied=[BASE, WRIST]))

    assert episode.absent_cameras == {"left_wrist": "not_in_log"}
    assert set(episode.cameras) == {"base"}


@pytest.mark.parametrize("level", [0, 7])
def test_a_camera_that_is_black_in_every_frame_is_absent_even_where_required(level):
    black = [np.full((32, 48, 3), level, np.uint8)] * T

    episode = take(raw_episode(pictures={BASE: black, WRIST: raw_episode().pictures[WRIST]}))

    assert episode.absent_cameras == {"base": "black_camera"}
    assert set(episode.cameras) == {"left_wrist"}
    assert "black in all" in episode.provenance.notes[0]


def test_a_camera_that_is_black_in_some_frames_is_kept_with_a_note():
    mixed = [np.zeros((32, 48, 3), np.uint8), *[picture(step) for step in range(T - 1)]]

    episode = take(raw_episode(pictures={BASE: mixed, WRIST: raw_episode().pictures[WRIST]}))

    assert len(episode.cameras["base"]) == T
    assert f"is black in 1 of {T} frames" in episode.provenance.notes[0]


@pytest.mark.parametrize("count", [0, T - 1, T + 1])
def test_pictures_must_be_as_many_as_frames(count):
    pictures = {BASE: [picture()] * count, WRIST: raw_episode().pictures[WRIST]}
    with pytest.raises(EpisodeError, match=f"camera 'base' .* has {count} pictures, expected {T}") as caught:
        take(raw_episode(pictures=pictures))
    assert caught.value.reason == "frame_count_mismatch"


def test_a_broken_picture_names_camera_and_number():
    broken = [encode_jpeg(picture()), b"\xff\xd8\xff broken", *[picture()] * (T - 2)]
    with pytest.raises(EpisodeError, match=r"camera 'base' .*, picture 1: ") as caught:
        take(raw_episode(pictures={BASE: broken, WRIST: raw_episode().pictures[WRIST]}))
    assert caught.value.reason == "bad_jpeg"


def noisy_jpeg(number):
    """A JPEG that is far from one colour."""
    return encode_jpeg(np.random.default_rng(number).integers(0, 255, (96, 128, 3)).astype(np.uint8))


def unlooked_at(jpeg):
    """The same JPEG with its picture data destroyed: header and end are whole."""
    return jpeg[:700] + b"\xff\x00" * ((len(jpeg) - 702) // 2) + b"\xff\xd9"


def test_jpegs_under_the_logs_checksum_are_decoded_now_and_then_only():
    jpegs = [noisy_jpeg(0), *(unlooked_at(noisy_jpeg(step)) for step in range(1, T))]

    checked = take(raw_episode(pictures={BASE: jpegs, WRIST: jpegs}, is_checked=True))
    with pytest.raises(EpisodeError) as caught:
        take(raw_episode(pictures={BASE: jpegs, WRIST: jpegs}))

    assert [item.jpeg for item in checked.cameras["base"]] == jpegs
    assert caught.value.reason == "bad_jpeg"


@pytest.mark.parametrize("broken", [noisy_jpeg(1)[:-2], noisy_jpeg(1)[:2000], b"\xff\xd8\xff\xd9"])
def test_a_jpeg_that_does_not_begin_and_end_well_is_refused_under_any_checksum(broken):
    jpegs = [noisy_jpeg(0), broken, *[noisy_jpeg(2)] * (T - 2)]

    with pytest.raises(EpisodeError) as caught:
        take(raw_episode(pictures={BASE: jpegs, WRIST: jpegs}, is_checked=True))

    assert caught.value.reason == "bad_jpeg"


def test_black_jpegs_are_seen_under_any_checksum():
    black = encode_jpeg(np.zeros((96, 128, 3), np.uint8))
    some = [noisy_jpeg(0), *[black] * (T - 2), noisy_jpeg(1)]

    episode = take(raw_episode(pictures={BASE: some, WRIST: [black] * T}, is_checked=True))

    assert episode.absent_cameras == {"left_wrist": "black_camera"}
    assert any(f"is black in {T - 2} of {T} frames" in note for note in episode.provenance.notes)


def test_large_pictures_are_scaled_and_small_jpegs_pass_byte_for_byte():
    small = [encode_jpeg(picture(step)) for step in range(T)]
    large = [picture(step, size=(96, 128)) for step in range(T)]

    episode = take(raw_episode(pictures={BASE: small, WRIST: large}), settings=ImageSettings(size=64))

    assert [item.jpeg for item in episode.cameras["base"]] == small
    assert (episode.cameras["left_wrist"][0].height, episode.cameras["left_wrist"][0].width) == (48, 64)


def test_an_episode_without_a_task_is_grouped_under_its_source():
    episode = take(raw_episode(task=None, instructions=()))
    assert episode.task == "tiny"
    assert "names no task" in episode.provenance.notes[0]
