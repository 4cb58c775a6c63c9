"""Frames as Arrow and as JSON: every number under its own name, and back."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from schema.embodiment import Signal, load_embodiment
from schema.episode import Instruction
from schema.frames import common_type, frame_table, frame_texts, moments, numbers, widened
from schema.layout import slots
from tests.lakes import make_episode

DTYPES = ["bool", "int8", "int64", "uint8", "uint64", "float16", "float32", "float64"]
FLOATS = st.floats(-1e6, 1e6, width=32)


def without_pictures(**changes):
    return replace(make_episode(), cameras={}, **changes)


def told(episode):
    """What the frames' JSON says."""
    return [json.loads(text) for text in frame_texts(episode)]


def arrays(dtypes=DTYPES, *, max_dims=4, min_side=0):
    shapes = hnp.array_shapes(min_dims=1, max_dims=max_dims, min_side=min_side, max_side=4)
    return st.tuples(st.sampled_from(dtypes), shapes).flatmap(lambda both: hnp.arrays(*both))


@settings(deadline=None)
@given(values=arrays())
def test_numbers_of_any_shape_and_type_come_back_from_parquet_as_they_were(values):
    episode = without_pictures(timestamp_T=np.arange(len(values)), signals={}, extras={"any": values})
    table = frame_table(episode, {})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    for column in (table["extra.any"], pq.read_table(pa.BufferReader(sink.getvalue()))["extra.any"]):
        found = numbers(column)
        assert found.dtype == values.dtype
        if len(values):  # of no frames there is no shape to find
            np.testing.assert_array_equal(found, values)


def test_numbers_in_the_other_byte_order_are_kept():
    values = np.array([[1.5, 2.5], [3.5, 4.5]], ">f4")
    table = frame_table(without_pictures(timestamp_T=np.arange(2), signals={}, extras={"big": values}), {})
    np.testing.assert_array_equal(numbers(table["extra.big"]), values)


def test_numbers_are_read_without_a_copy():
    values = np.arange(12, dtype=np.float32).reshape(4, 3)
    table = frame_table(without_pictures(timestamp_T=np.arange(4), signals={}, extras={"x": values}), {})
    assert not numbers(table["extra.x"]).flags.owndata


def test_a_column_that_the_episode_lacks_has_no_numbers():
    assert numbers(pa.chunked_array([pa.nulls(3, pa.list_(pa.float32(), 2))])) is None


@settings(deadline=None)
@given(first=arrays(max_dims=3, min_side=1), second=arrays(max_dims=3, min_side=1))
def test_episodes_with_other_shapes_and_types_share_a_column_that_holds_both(first, second):
    columns = [
        frame_table(without_pictures(timestamp_T=np.arange(len(values)), signals={}, extras={"x": values}), {})[
            "extra.x"
        ]
        for values in (first, second)
    ]
    common = common_type([column.type for column in columns])
    for column, values in zip(columns, (first, second), strict=True):
        found = numbers(widened(column, common))
        exact = np.result_type(first.dtype, second.dtype)
        np.testing.assert_array_equal(found.reshape(values.shape), values.astype(exact))


def test_the_padded_view_is_the_default_action_space_in_layout_pi():
    episode = make_episode(embodiment="bimanual_trossen")
    table = frame_table(replace(episode, cameras={}), {})
    space = episode.embodiment.action_space()
    for role, names in (("state", space.state), ("action", space.action)):
        places = slots(episode.embodiment.dimensions(names), "pi")
        padded = numbers(table[f"padded_{role}"])
        wanted = np.concatenate([episode.signals[name] for name in names], axis=1)
        assert padded.dtype == np.float32
        np.testing.assert_array_equal(places.unpad(padded), wanted)
        assert not padded[:, ~places.mask].any()


def wide_robot(width):
    """A hand of so many joints."""
    table = load_embodiment("ur5e")
    signals = [
        Signal(
            name=f"{role}.hand",
            part="left",
            quantity="joint_position",
            unit="rad",
            frame="joint",
            mode="absolute",
            dims=tuple(f"j{number}" for number in range(width)),
        )
        for role in ("state", "action")
    ]
    space = {"name": "hand", "state": ["state.hand"], "action": ["action.hand"]}
    return table.model_validate(
        table.model_dump(exclude={"signals", "action_spaces", "default_action_space", "sources"})
        | {"signals": signals, "action_spaces": [space], "default_action_space": "hand"}
    )


@pytest.mark.parametrize(("width", "fits"), [(32, True), (33, False)])
def test_a_robot_too_wide_for_the_padded_view_has_all_its_signals_and_a_null_view(width, fits):
    values = np.random.default_rng(0).normal(size=(4, width)).astype(np.float32)
    episode = without_pictures(
        embodiment=wide_robot(width), timestamp_T=np.arange(4), signals={"state.hand": values, "action.hand": values}
    )
    table = frame_table(episode, {})
    np.testing.assert_array_equal(numbers(table["state.hand"]), values)
    assert table["padded_state"].type == pa.list_(pa.float32(), 32)
    assert (numbers(table["padded_state"]) is not None) is fits


def test_an_episode_without_a_signal_of_the_default_action_space_has_a_null_view():
    episode = make_episode()
    kept = {name: values for name, values in episode.signals.items() if name.startswith("state.")}
    table = frame_table(replace(episode, cameras={}, signals=kept), {})
    assert numbers(table["padded_state"]) is not None
    assert numbers(table["padded_action"]) is None


@settings(deadline=None)
@given(values=hnp.arrays(np.float32, st.tuples(st.integers(1, 20), st.integers(1, 5)), elements=FLOATS))
def test_moments_are_the_float64_numbers_that_one_would_add_up(values):
    (row,) = moments({"state.x": values})
    columns = values.astype(np.float64).T.tolist()
    assert (row["signal"], row["count"]) == ("state.x", len(values))
    assert row["sum"] == pytest.approx([sum(column) for column in columns], rel=1e-12, abs=1e-9)
    assert row["sum_sq"] == pytest.approx([sum(x * x for x in column) for column in columns], rel=1e-12, abs=1e-12)
    assert row["min"] == [min(column) for column in columns]
    assert row["max"] == [max(column) for column in columns]


@settings(deadline=None)
@given(values=hnp.arrays(np.float32, st.tuples(st.integers(1, 200), st.integers(1, 5)), elements=FLOATS))
def test_moments_do_not_depend_on_how_the_numbers_lie_in_memory(values):
    wider = np.concatenate([values, values], axis=1)
    assert (
        moments({"x": values})
        == moments({"x": np.asfortranarray(values)})
        == moments({"x": wider[:, : values.shape[1]]})
        == moments({"x": values.astype(np.float64)})
    )


def test_what_json_cannot_say_is_null():
    extra = np.array([[1.0, np.nan], [np.inf, -np.inf]])
    frames = told(without_pictures(timestamp_T=np.arange(2), signals={}, extras={"x": extra}))
    assert [frame["values"]["extra.x"] for frame in frames] == [[1.0, None], [None, None]]


def test_a_percent_sign_is_text_like_any_other():
    episode = without_pictures(timestamp_T=np.arange(1), signals={}, extras={"%s": np.ones(1)}, task="100 %d")
    assert (told(episode)[0]["task"], told(episode)[0]["values"]) == ("100 %d", {"extra.%s": 1.0})


def test_each_frame_has_the_instruction_that_holds_for_it():
    texts = (
        Instruction(text="reach", start=0, stop=2),
        Instruction(text="grasp", start=3, stop=5),
        Instruction(text="all along"),
        Instruction(text="never said", start=50, stop=60),
    )
    frames = told(without_pictures(timestamp_T=np.arange(6), signals={}, instructions=texts))
    assert [frame["instruction"] for frame in frames] == ["reach", "reach", "all along", "grasp", "grasp", "all along"]


def test_frames_before_the_first_instruction_have_none_and_a_late_end_is_the_episodes():
    texts = (Instruction(text="late", start=2, stop=99),)
    frames = told(without_pictures(timestamp_T=np.arange(4), signals={}, instructions=texts))
    assert [frame["instruction"] for frame in frames] == ["", "", "late", "late"]
