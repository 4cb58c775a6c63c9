"""Which format a location is of, and which robot."""

import pytest

from ingest.detect import FORMATS, detect, find_embodiment, format_named
from ingest.draft import draft
from ingest.location import Location
from ingest.record import Discovery
from schema.errors import ConfigError, SourceError
from tests.ingest.raw_writers import write_bridge, write_droid, write_mobile_aloha, write_robomimic
from tests.ingest.writers import write_aloha, write_lerobot, write_rlds


def discovery_of(**changes):
    usual = {"format": "lerobot", "name": "logs", "robot": "ur5e", "rate_hz": 10.0}
    return Discovery(records=(), fields=(), cameras=(), **(usual | changes))


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (write_rlds, "rlds"),
        (write_lerobot, "lerobot"),
        (lambda folder: write_aloha(folder / "episode_0.hdf5"), "aloha"),
        (lambda folder: write_mobile_aloha(folder / "episode_0.hdf5"), "aloha"),
        (write_droid, "droid_raw"),
        (write_bridge, "bridge_raw"),
        (lambda folder: write_robomimic(folder / "demos.hdf5"), "robomimic"),
    ],
)
def test_each_format_is_recognised_and_no_other_claims_it(tmp_path, write, name):
    write(tmp_path)
    location = Location.of(str(tmp_path))

    found, discovery = detect(location, None)

    assert (found.NAME, discovery.format) == (name, name)
    assert [item.NAME for item in FORMATS if item.discover(location) is not None] == [name]


def test_an_empty_folder_is_a_source_error(tmp_path):
    with pytest.raises(SourceError, match="found nothing"):
        detect(Location.of(str(tmp_path)), None)


def test_files_of_no_format_are_counted_by_kind(tmp_path):
    for name in ("a.csv", "b.csv", "README"):
        (tmp_path / name).write_text("x")

    with pytest.raises(
        SourceError, match=r"3 files \(2 \.csv, 1 no extension\), none of the formats rlds, lerobot, aloha"
    ):
        detect(Location.of(str(tmp_path)), None)


def test_a_named_format_that_does_not_fit_says_so(tmp_path):
    write_lerobot(tmp_path)
    with pytest.raises(SourceError, match="not 'aloha'"):
        detect(Location.of(str(tmp_path)), "aloha")


def test_an_unknown_format_lists_the_choices():
    with pytest.raises(ConfigError, match="unknown format 'hdf5': choose one of rlds, lerobot, aloha"):
        format_named("hdf5")


@pytest.mark.parametrize("robot", ["ur5e", "UR5e"])
def test_the_robot_is_found_by_what_the_log_calls_it(robot):
    assert find_embodiment(discovery_of(robot=robot), None).name == "ur5e"


def test_the_robot_is_found_by_the_datasets_name_where_the_log_names_none():
    assert find_embodiment(discovery_of(format="rlds", robot=None, name="bridge_dataset"), None).name == "widowx"


def test_what_the_robot_is_called_counts_more_than_the_name_of_the_folder():
    assert find_embodiment(discovery_of(robot="ur5e", name="franka"), None).name == "ur5e"


def test_the_users_word_counts_most():
    assert find_embodiment(discovery_of(robot="ur5e"), "franka").name == "franka"


def test_an_unknown_robot_says_what_the_log_calls_it_and_what_to_do():
    with pytest.raises(ConfigError, match=r"calls its robot 'hexapod'.*--embodiment.*ur5e.*--dry-run"):
        find_embodiment(discovery_of(robot="hexapod"), None)


def test_an_unknown_embodiment_lists_the_known_ones():
    with pytest.raises(ConfigError, match=r"unknown embodiment 'hexapod': expected one of .*ur5e"):
        find_embodiment(discovery_of(), "hexapod")


def test_an_embodiment_that_does_not_bind_the_format_says_which_it_binds():
    with pytest.raises(ConfigError, match=r"'ur5e' binds lerobot, mcap, the source is rlds: add a \[sources\.rlds\]"):
        find_embodiment(discovery_of(format="rlds"), "ur5e")


def test_a_drafted_table_is_found_by_its_path(tmp_path):
    write_lerobot(tmp_path / "logs", info={"robot_type": "hexapod"})
    _, discovery = detect(Location.of(str(tmp_path / "logs")), None)
    table = tmp_path / "hexapod.toml"
    table.write_text(draft(discovery))

    assert find_embodiment(discovery, str(table)).name == "hexapod"
