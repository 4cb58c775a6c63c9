"""A source's own rules: what is left out, dropped or exchanged is done to all streams alike, and told."""

from dataclasses import replace

import numpy as np
import pytest

from ingest.record import RawEpisode
from ingest.source_rules import follow
from schema.embodiment import SourceBinding
from schema.episode import Instruction
from schema.errors import EpisodeError
from schema.picture import encode_jpeg
from tests.ingest.writers import T, picture


def raw_episode(**changes):
    whole = RawEpisode(
        digest="d" * 32,
        fields={"action": np.arange(T * 2, dtype=np.float32).reshape(T, 2)},
        pictures={"front": [picture(step) for step in range(T)], "hand": [encode_jpeg(picture())] * T},
        timestamp_T=np.arange(T) / 10,
        instructions=(Instruction(text="reach", stop=1), Instruction(text="grasp", start=1)),
    )
    return replace(whole, **changes)


def bound(**rules):
    return SourceBinding(signals={}, cameras={"base": "front"}, optional_cameras={"left_wrist": "hand"}, **rules)


def test_a_source_without_rules_passes_untouched():
    raw = raw_episode()
    assert follow(raw, bound()) == raw


def test_dropped_frames_are_dropped_from_every_stream():
    raw = follow(raw_episode(), bound(drop_first=2))

    np.testing.assert_array_equal(raw.fields["action"][0], [4, 5])
    assert [len(list(each)) for each in raw.pictures.values()] == [T - 2, T - 2]
    assert raw.timestamp_T[0] == 0.2
    assert raw.instructions == (Instruction(text="grasp", start=0),)
    assert raw.notes == ("the first 2 frames of each episode: dropped",)


def test_an_instruction_of_kept_frames_moves_with_them():
    told = (Instruction(text="reach", start=1, stop=4),)
    assert follow(raw_episode(instructions=told), bound(drop_first=2)).instructions == (
        Instruction(text="reach", start=0, stop=2),
    )


@pytest.mark.parametrize(("success", "told"), [(False, "says that it failed"), (None, "does not say whether")])
def test_an_episode_that_is_no_success_is_left_out_where_only_these_are_taken(success, told):
    with pytest.raises(EpisodeError, match=told) as caught:
        follow(raw_episode(success=success), bound(only_successes=True))
    assert caught.value.reason == "not_successful"


def test_a_success_is_taken():
    assert follow(raw_episode(success=True), bound(only_successes=True)).success


def test_red_and_blue_are_exchanged_in_the_named_cameras_only():
    raw = follow(raw_episode(), bound(bgr_cameras=("base",)))

    np.testing.assert_array_equal(next(iter(raw.pictures["front"])), picture()[..., ::-1])
    assert next(iter(raw.pictures["hand"])) == encode_jpeg(picture())


def test_jpegs_are_decoded_to_be_exchanged():
    raw = follow(raw_episode(), bound(bgr_cameras=("left_wrist",)))

    hand = next(iter(raw.pictures["hand"]))

    assert hand[16, 4, 2] > 150 > hand[16, 4, 0]


def test_the_logs_own_rate_goes_before_the_sources():
    assert follow(raw_episode(), bound(rate_hz=3)).rate_hz == 3
    assert follow(raw_episode(rate_hz=15), bound(rate_hz=3)).rate_hz == 15


def test_doubts_become_notes():
    assert follow(raw_episode(), bound(doubt=("metres or not",))).notes == ("doubt: metres or not",)


def test_words_kept_as_bytes_become_instructions_and_are_no_numbers_any_more():
    codes = np.zeros((T, 32), np.int32)
    for step, text in enumerate(["räum auf"] * 4 + [""] * (T - 4)):
        codes[step, : len(text.encode())] = list(text.encode())

    raw = follow(raw_episode(fields={"words": codes}), bound(instruction="words"))

    assert raw.instructions == (Instruction(text="räum auf", start=0, stop=4),)
    assert raw.task == "räum auf"
    assert raw.fields == {}


def test_words_that_the_log_lacks_are_a_missing_field():
    with pytest.raises(EpisodeError, match=r"bound to 'words', the log has \['action'\]"):
        follow(raw_episode(), bound(instruction="words"))


def test_frames_of_streams_with_their_own_clocks_cannot_be_dropped_by_number():
    clocks = {"action": np.arange(T) / 10}
    with pytest.raises(EpisodeError, match="clocks of their own") as caught:
        follow(raw_episode(timestamp_T=None, clocks=clocks), bound(drop_first=2))
    assert caught.value.reason == "own_clocks"
