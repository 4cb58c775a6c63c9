"""Which format a location is of, and which robot."""

import os
import pickle
import sys
from pathlib import Path

import pytest

from ingest import detect as detecting
from ingest.detect import FORMATS, detect, find_embodiment, format_named
from ingest.draft import draft
from ingest.location import Location
from ingest.record import Discovery
from schema.errors import ConfigError, SourceError
from tests.ingest.raw_writers import write_bridge, write_droid, write_mobile_aloha, write_robomimic
from tests.ingest.ros_writers import ur5e_log, write_mcap, write_rosbag1, write_rosbag2
from tests.ingest.test_lerobot_v3 import write_lerobot_v3
from tests.ingest.test_zarr_replay import write_zarr
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
        (write_lerobot_v3, "lerobot"),
        (lambda folder: write_zarr(folder / "a.zarr"), "zarr_replay"),
        (lambda folder: write_mcap(folder / "a.mcap", ur5e_log()), "mcap"),
        (lambda folder: write_rosbag1(folder / "a.bag", ur5e_log()), "rosbag"),
        (lambda folder: write_rosbag2(folder / "a", ur5e_log()), "rosbag"),
    ],
)
def test_each_format_is_recognised_and_no_other_claims_it(tmp_path, write, name):
    write(tmp_path)
    location = Location.of(str(tmp_path))

    found, discovery = detect(location, None)

    assert (found.NAME, discovery.format) == (name, name)
    assert [form for form in FORMATS if format_named(form).discover(location) is not None] == [name]


def test_an_empty_folder_is_a_source_error(tmp_path):
    with pytest.raises(SourceError, match="found nothing"):
        detect(Location.of(str(tmp_path)), None)


def test_a_folder_that_may_not_be_read_is_not_left_out_in_silence(tmp_path, monkeypatch):
    write_aloha(tmp_path / "logs/a/episode_0.hdf5")
    write_aloha(tmp_path / "logs/b/episode_1.hdf5")
    monkeypatch.setattr(os, "access", lambda path, _: not str(path).endswith("/b"))

    with pytest.raises(SourceError, match=r"1 folders may not be read.*/logs/b"):
        Location.of(str(tmp_path / "logs"))


def test_files_of_no_format_are_counted_by_kind(tmp_path):
    for name in ("a.csv", "b.csv", "README"):
        (tmp_path / name).write_text("x")

    with pytest.raises(
        SourceError, match=r"3 files \(2 \.csv, 1 no extension; the first is 'README'\), none of the formats rlds"
    ):
        detect(Location.of(str(tmp_path)), None)


def test_a_named_format_that_does_not_fit_says_so(tmp_path):
    write_lerobot(tmp_path)
    with pytest.raises(SourceError, match="not 'aloha'"):
        detect(Location.of(str(tmp_path)), "aloha")


def test_logs_of_another_kind_beside_those_that_are_taken_are_told(tmp_path):
    write_aloha(tmp_path / "episode_0.hdf5")
    for name in ("b.bag", "deep/a.bag", "c.mcap", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")

    told = [note.split(":")[0] for note in detect(Location.of(str(tmp_path)), "aloha")[1].notes]

    assert told == [f"{count} files are no aloha logs and are not taken" for count in ("2 .bag", "1 .mcap")]


def test_a_link_to_a_folder_is_told_and_not_followed(tmp_path):
    write_aloha(tmp_path / "logs/episode_0.hdf5")
    write_aloha(tmp_path / "elsewhere/episode_1.hdf5")
    (tmp_path / "logs/more").symlink_to(tmp_path / "elsewhere")
    location = pickle.loads(pickle.dumps(Location.of(str(tmp_path / "logs"))))

    _, discovery = detect(location, None)

    assert len(discovery.records) == 1
    assert discovery.notes == (
        f"'more' is a link to a folder, which is not followed: ingest {tmp_path / 'elsewhere'} by itself, "
        "or copy it there",
    )
    (tmp_path / "logs/episode_0.hdf5").unlink()
    with pytest.raises(SourceError, match=r"found 0 files \(none; 'more' is a link to the folder .*, not followed\)"):
        detect(Location.of(str(tmp_path / "logs")), None)


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


# ── formats of other packages ──────────────────────────────────────────────────────────────────────────────────────

NOTES_FORMAT = """
from ingest.record import Discovery
NAME, VERSION = {name!r}, 1
def discover(location):
    if not any(file.endswith(".notes") for file in location.files):
        return None
    return Discovery(format=NAME, name="notes", robot=None, rate_hz=1.0, records=(), fields=(), cameras=())
def read(location, record):
    raise NotImplementedError
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a package with an entry point on the path, as an installed one is."""

    def put(package, *, name, text):
        site = tmp_path / "site"
        info = site / f"{package}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[robomix.formats]\n{name} = {package}\n")
        (site / f"{package}.py").write_text(text)
        monkeypatch.syspath_prepend(site)
        _forget()

    yield put
    monkeypatch.undo()
    _forget()


def _forget():
    detecting._entry_points.cache_clear()
    detecting._loaded.cache_clear()


def test_a_format_of_another_package_is_tried_after_the_built_in_ones(tmp_path, install):
    install("my_notes_a", name="notes", text=NOTES_FORMAT.format(name="notes"))
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.notes").touch()
    both = write_aloha(tmp_path / "both" / "episode_0.hdf5").parent
    (both / "a.notes").touch()

    assert detect(Location.of(str(tmp_path / "logs")), None)[1].format == "notes"
    assert detect(Location.of(str(both)), None)[1].format == "aloha"
    assert format_named("notes").VERSION == 1


@pytest.mark.parametrize("others", ["rlds", "notes"])
def test_formats_that_claim_one_name_are_refused(tmp_path, install, others):
    install("my_notes_b", name="notes", text=NOTES_FORMAT.format(name="notes"))
    install("my_notes_c", name=others, text=NOTES_FORMAT.format(name=others))
    location = Location.of(str(write_aloha(tmp_path / "logs" / "episode_0.hdf5").parent))

    with pytest.raises(ConfigError, match=rf"the entry point '{others}' \(my_notes_c\) has the name of a format of"):
        detect(location, None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import not_there", "cannot be imported from my_notes_d .ModuleNotFoundError"),
        ("NAME = 'notes'", "it lacks VERSION, discover, read"),
        (NOTES_FORMAT.format(name="other"), "its NAME is 'other'"),
    ],
)
def test_what_is_no_format_is_refused_by_name(tmp_path, install, text, said, monkeypatch):
    install("my_notes_d", name="notes", text=text)
    monkeypatch.delitem(sys.modules, "my_notes_d", raising=False)

    with pytest.raises(ConfigError, match=said):
        format_named("notes")


def test_the_format_of_the_docs_reads_a_log(tmp_path, install, monkeypatch):
    text = (Path(__file__).parents[2] / "docs/formats.md").read_text()
    code = text.split("```python\n")[1].split("```")[0]
    install("my_csv_arm", name="csv_arm", text=code)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.arm.csv").write_text("angles,commands\n" + "1,2,3,4,5,6,7,8,9,10,11,12,13,14\n" * 3)
    location = Location.of(str(tmp_path / "logs"))

    found, discovery = detect(location, None)
    raw = found.read(location, discovery.records[0])

    assert len(code.splitlines()) <= 40
    assert discovery.format == "csv_arm"
    assert raw.fields["angles"].tolist() == [[1, 2, 3, 4, 5, 6, 7]] * 3
    assert raw.fields["command"][0, 0] == 8
