"""Errors: one message with every problem, and one that survives a process border."""

import pickle

import pytest

from schema.errors import ConfigError, EpisodeError, RobomixError, SchemaError, SourceError, problems


def test_no_problem_is_no_error():
    assert problems(ConfigError, "the recipe has problems", []) is None


def test_every_problem_has_a_line_of_its_own():
    error = problems(ConfigError, "the recipe has 2 problems:", (text for text in ("no seed", "no source")))
    assert isinstance(error, ConfigError)
    assert str(error) == "the recipe has 2 problems:\n  - no seed\n  - no source"


@pytest.mark.parametrize("kind", [ConfigError, SourceError, SchemaError])
def test_every_error_is_a_robomix_error(kind):
    assert issubclass(kind, RobomixError)


def test_an_episode_error_crosses_a_process_border_with_reason_text_and_notes():
    error = EpisodeError("crc_mismatch", "record 3 has another checksum")
    error.add_note("while reading a log")

    copy = pickle.loads(pickle.dumps(error))

    assert (type(copy), copy.reason, str(copy)) == (EpisodeError, "crc_mismatch", "record 3 has another checksum")
    assert copy.__notes__ == ["while reading a log"]
