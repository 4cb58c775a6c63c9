"""A lake at a URI: opening it, its files, its tables now and then. On disk and on S3."""

import errno
import os
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import s3fs

from schema.commit import Bundle, commit, compact
from schema.embodiment import load_embodiment
from schema.errors import SchemaError
from schema.lake import Lake
from schema.tables import TABLES
from tests.lakes import annotation_row, catalogue_row, make_episode, quarantine_row, store


def take(lake, name, *episodes, conversion="c1", annotations=(), quarantine=()):
    rows = tuple(catalogue_row(episode, conversion=conversion) for episode in episodes)
    return commit(lake, [Bundle(bundle_id=name, episodes=rows, annotations=annotations, quarantine=quarantine)])


def live(lake, **version):
    rows = lake.episodes(**version).select("episode_id", "conversion").collect()
    return sorted(rows.iter_rows())


def texts(lake, **version):
    return sorted(lake.annotations(**version).collect()["text"])


# ── opening ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_lake_is_an_empty_catalogue_that_opens_again(lake_uri):
    made = Lake.open_or_create(lake_uri)
    assert made.version("episodes") == 0
    assert Lake.open(lake_uri).episodes().collect().is_empty()
    assert Lake.open_or_create(lake_uri).version("episodes") == 0


def test_a_lake_can_be_sent_to_another_process(lake):
    again = pickle.loads(pickle.dumps(lake))
    assert (again.uri, again.root) == (lake.uri, lake.root)
    assert again.is_lake()


def test_many_may_make_the_same_lake_at_once(lake_uri):
    with ThreadPoolExecutor(8) as pool:
        lakes = list(pool.map(lambda _: Lake.open_or_create(lake_uri), range(8)))
    assert {lake.version("episodes") for lake in lakes} == {0}


def test_what_is_no_lake_is_refused_with_the_way_out(lake_uri):
    with pytest.raises(SchemaError, match=r"no lake at .*expected a folder with an `episodes` Delta table.*ingest"):
        Lake.open(lake_uri)


def test_a_folder_that_holds_something_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(SchemaError, match=r"no lake and not empty \(it holds thesis.tex…\): choose a new folder"):
        Lake.open_or_create(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_bucket_prefix_that_holds_something_else_is_refused(s3_lake_uri):
    lake = Lake(s3_lake_uri)
    lake.write("thesis.tex", b"mine")
    with pytest.raises(SchemaError, match=r"it holds thesis.tex"):
        Lake.open_or_create(s3_lake_uri)


def test_a_file_is_no_lake(tmp_path):
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(SchemaError):
        Lake.open(str(tmp_path / "notes"))
    with pytest.raises(SchemaError, match="choose a new folder"):
        Lake.open_or_create(str(tmp_path / "notes"))


def test_a_lake_whose_making_was_interrupted_is_made(tmp_path):
    (tmp_path / "lake" / "embodiments").mkdir(parents=True)
    assert Lake.open_or_create(str(tmp_path / "lake")).is_lake()


def test_a_broken_table_is_named_in_one_line(tmp_path):
    log = tmp_path / "lake" / "episodes" / "_delta_log"
    log.mkdir(parents=True)
    (log / "00000000000000000000.json").write_text("garbage")
    with pytest.raises(SchemaError, match=r"the table 'episodes' of .* cannot be read") as raised:
        Lake.open(str(tmp_path / "lake"))
    assert "\n" not in str(raised.value)


def test_a_bucket_that_is_not_there_is_named(s3_lake_uri):
    with pytest.raises(SchemaError, match="s3://no-such-bucket/lake cannot be read"):
        Lake.open("s3://no-such-bucket/lake")


@pytest.mark.parametrize("name", ["with space", "münchen", "a#b", "a?b", "a+b", "(x)"])
def test_a_folder_may_have_any_name(tmp_path, name):
    lake = Lake.open_or_create(str(tmp_path / name))
    store(lake, tmp_path, [make_episode(num_frames=1)])
    assert Lake.open(lake.uri).episodes().collect().height == 1


def test_a_prefix_may_have_a_space(s3_lake_uri, tmp_path):
    lake = Lake.open_or_create(f"{s3_lake_uri}/with space")
    store(lake, tmp_path, [make_episode(num_frames=1)])
    assert Lake.open(lake.uri).episodes().collect().height == 1


@pytest.mark.parametrize("name", ["a%20b", "[x]", "a|b"])
def test_a_path_that_delta_lake_would_misread_is_refused(tmp_path, name):
    with pytest.raises(SchemaError, match=r"a lake's path cannot hold .*Delta Lake misreads"):
        Lake.open_or_create(str(tmp_path / name))
    assert list(tmp_path.iterdir()) == []


# ── files ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_is_read_back_whole_and_in_part(lake):
    lake.write("plans/a.json", b"0123456789")
    assert lake.read("plans/a.json") == b"0123456789"
    assert lake.read("plans/a.json", 2, 5) == b"234"
    assert lake.exists("plans/a.json")
    with lake.local("plans/a.json") as path:
        assert path.read_bytes() == b"0123456789"


def test_a_missing_file_is_named(lake):
    assert not lake.exists("shards/x.tar")
    with pytest.raises(SchemaError, match=r"shards/x.tar is missing from"):
        lake.read("shards/x.tar")
    with pytest.raises(SchemaError, match=r"shards/x.tar is missing from"), lake.local("shards/x.tar"):
        pass


def test_what_another_process_writes_or_removes_is_seen_at_once(s3_lake_uri, s3):
    lake = Lake(s3_lake_uri)
    assert not lake.exists("plans/a.json")
    other = _another_client(s3)
    other.pipe_file(lake.path("plans/a.json"), b"1")
    assert lake.exists("plans/a.json")
    assert lake.path("plans/a.json") in lake.fs.find(lake.root)
    other.rm_file(lake.path("plans/a.json"))
    assert not lake.exists("plans/a.json")
    assert lake.path("plans/a.json") not in lake.fs.find(lake.root)


def _another_client(s3):
    return s3fs.S3FileSystem(
        key=s3.environment["AWS_ACCESS_KEY_ID"],
        secret=s3.environment["AWS_SECRET_ACCESS_KEY"],
        endpoint_url=s3.endpoint,
        skip_instance_cache=True,
    )


def test_an_upload_that_dies_leaves_nothing_under_the_final_name(local_lake, tmp_path, monkeypatch):
    def die(*_):
        raise KeyboardInterrupt

    (tmp_path / "shard").write_bytes(b"content")
    monkeypatch.setattr(os, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        local_lake.upload(tmp_path / "shard", "shards/tiny/abc.tar")
    assert not local_lake.exists("shards/tiny/abc.tar")
    assert all(path.endswith(".part") for path in local_lake.fs.find(local_lake.path("shards")))
    monkeypatch.undo()
    local_lake.upload(tmp_path / "shard", "shards/tiny/abc.tar")
    assert local_lake.read("shards/tiny/abc.tar") == b"content"


def test_an_upload_that_dies_does_not_harm_the_file_that_was_there(local_lake, tmp_path, monkeypatch):
    local_lake.write("plans/a.json", b"old")
    (tmp_path / "new").write_bytes(b"new")

    def half(_, target, **__):
        Path(target).write_bytes(b"n")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(local_lake.fs), "put_file", lambda self, *args, **words: half(*args, **words))
    with pytest.raises(OSError, match="No space left"):
        local_lake.upload(tmp_path / "new", "plans/a.json")
    assert local_lake.read("plans/a.json") == b"old"


def test_a_file_that_may_move_is_moved_on_the_lakes_own_disk(local_lake, tmp_path):
    (tmp_path / "shard").write_bytes(b"content")
    local_lake.upload(tmp_path / "shard", "shards/tiny/abc.tar", may_move=True)
    assert local_lake.read("shards/tiny/abc.tar") == b"content"
    assert not (tmp_path / "shard").exists()


def test_a_file_that_may_move_is_copied_from_another_disk(local_lake, tmp_path, monkeypatch):
    def other_disk(*_):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    (tmp_path / "shard").write_bytes(b"content")
    monkeypatch.setattr(Path, "rename", other_disk)
    local_lake.upload(tmp_path / "shard", "shards/tiny/abc.tar", may_move=True)
    assert local_lake.read("shards/tiny/abc.tar") == b"content"
    assert (tmp_path / "shard").exists()


# ── tables ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_is_not_there_yet_has_no_rows_and_the_right_columns(local_lake, name):
    found = local_lake.scan(name).collect()
    assert (found.height, found.columns) == (0, TABLES[name].names)
    made = local_lake.create_table(name)
    assert (made.version(), local_lake.scan(name).collect().schema) == (0, found.schema)


def test_live_rows_of_missing_tables_are_none(local_lake):
    assert local_lake.annotations().collect().is_empty()
    assert local_lake.quarantine().collect().is_empty()


def test_many_may_make_the_same_table_at_once(lake):
    with ThreadPoolExecutor(8) as pool:
        tables = list(pool.map(lambda _: Lake(lake.uri).create_table("verdicts"), range(8)))
    assert {table.version() for table in tables} == {0}


def test_an_older_version_shows_what_was_there_then(lake):
    take(lake, "b1", "e1")
    then = lake.version("episodes")
    take(lake, "b2", "e2")
    take(lake, "b3", "e1", conversion="c2")
    assert live(lake, version=then) == [("e1", "c1")]
    assert live(lake, version=0) == []
    assert live(lake) == [("e1", "c2"), ("e2", "c1")]


def test_a_version_that_never_was_is_refused(lake):
    with pytest.raises(SchemaError, match=r"has no version 7 of 'episodes': the newest is 0"):
        lake.scan("episodes", version=7)


def test_a_version_of_a_table_that_is_not_there_is_refused_rather_than_empty(local_lake):
    with pytest.raises(SchemaError, match="has no version 3 of 'verdicts': that table has not been made yet"):
        local_lake.scan("verdicts", version=3)


def test_versions_outlive_the_thirty_days_of_delta_lake(local_lake):
    take(local_lake, "b1", "e1")
    for number in range(3):
        take(local_lake, f"c{number}", f"f{number}")
    log = Path(local_lake.path("episodes/_delta_log"))
    long_ago = time.time() - 400 * 86400
    for file in log.iterdir():
        os.utime(file, (long_ago, long_ago))
    compact(local_lake)
    for number in range(3):
        take(local_lake, f"d{number}", f"g{number}")
    compact(local_lake)
    assert live(local_lake, version=1) == [("e1", "c1")]


# ── which rows hold ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_newer_conversion_supersedes_by_a_new_row_and_the_old_row_stays_readable(lake, tmp_path):
    old, new = make_episode(0, num_frames=2), make_episode(0, num_frames=2, image_size=16)
    assert set(store(lake, tmp_path, [old], bundle_id="b1").values()) == {"committed"}
    assert set(store(lake, tmp_path, [new], bundle_id="b2", conversion="c2").values()) == {"superseded"}
    assert live(lake) == [(old.episode_id, "c2")]
    rows = {row["conversion"]: row for row in lake.scan("episodes").collect().iter_rows(named=True)}
    assert (rows["c1"]["supersedes"], rows["c2"]["supersedes"]) == (None, "c1")
    assert rows["c1"]["shard"] != rows["c2"]["shard"]
    assert all(lake.exists(f"{row['shard']}.{kind}") for row in rows.values() for kind in ("tar", "parquet"))


def test_of_three_conversions_only_the_last_is_live(lake):
    for number in (1, 2, 3):
        take(lake, f"b{number}", "e1", "e2", conversion=f"c{number}")
    assert live(lake) == [("e1", "c3"), ("e2", "c3")]
    chain = lake.scan("episodes").filter(episode_id="e1").select("conversion", "supersedes").collect()
    assert sorted(chain.iter_rows()) == [("c1", None), ("c2", "c1"), ("c3", "c2")]


def test_going_back_to_an_older_conversion_changes_nothing(local_lake):
    take(local_lake, "b1", "e1", conversion="c1")
    take(local_lake, "b2", "e1", conversion="c2")
    assert set(take(local_lake, "b3", "e1", conversion="c1").values()) == {"duplicate"}
    assert live(local_lake) == [("e1", "c2")]


def test_an_annotation_holds_once_until_another_supersedes_it(lake):
    first = annotation_row("e1", "pick")
    better = annotation_row("e1", "pick the cup", supersedes=first["annotation_id"])
    best = annotation_row("e1", "pick the red cup", supersedes=better["annotation_id"])
    other = annotation_row("e2", "push")
    take(lake, "b1", "e1", annotations=(first, other))
    take(lake, "b2", annotations=(first,))
    assert texts(lake) == ["pick", "push"]
    then = lake.version("annotations")
    take(lake, "b3", annotations=(better,))
    assert texts(lake) == ["pick the cup", "push"]
    take(lake, "b4", annotations=(best,))
    assert texts(lake) == ["pick the red cup", "push"]
    assert texts(lake, version=then) == ["pick", "push"]


def test_a_record_leaves_quarantine_once_it_is_taken(lake):
    take(lake, "b1", quarantine=(quarantine_row("e1"), quarantine_row("e2")))
    take(lake, "b2", quarantine=(quarantine_row("e2"),))
    assert sorted(lake.quarantine().collect()["message"]) == ["e1 is broken", "e2 is broken"]
    take(lake, "b3", "e1")
    assert lake.quarantine().collect()["message"].to_list() == ["e2 is broken"]


def test_a_record_that_a_newer_conversion_takes_leaves_quarantine(lake):
    take(lake, "b1", quarantine=(quarantine_row("e1"),))
    commit(lake, [Bundle(bundle_id="b2", episodes=(catalogue_row("e1", conversion="c2"),))])
    assert lake.quarantine().collect().is_empty()


def test_a_record_that_breaks_after_it_was_taken_is_in_quarantine(lake):
    take(lake, "b1", "e1")
    take(lake, "b2", quarantine=(quarantine_row("e1", reason="cut"),))
    assert lake.quarantine().collect()["reason"].to_list() == ["cut"]


def test_of_two_faults_of_one_record_the_newer_is_told(lake):
    take(lake, "b1", quarantine=(quarantine_row("e1", reason="cut"),))
    take(lake, "b2", quarantine=(quarantine_row("e1", reason="black"),))
    assert lake.quarantine().collect()["reason"].to_list() == ["black"]


def test_what_a_log_says_holds_for_its_conversion_and_what_a_person_says_for_all(lake):
    said = [annotation_row("e1", "as logged", conversion="c1"), annotation_row("e1", "by hand")]
    take(lake, "b1", "e1", annotations=tuple(said))
    anew = annotation_row("e1", "as logged, mended", conversion="c2")
    row = catalogue_row("e1", conversion="c2")
    commit(lake, [Bundle(bundle_id="b2", episodes=(row,), annotations=(anew,))])
    assert texts(lake) == ["as logged, mended", "by hand"]


# ── embodiments ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_table_of_a_robot_is_kept_and_read_back(lake):
    robot = load_embodiment("mobile_fibocom")
    lake.keep_embodiment(robot)
    lake.keep_embodiment(robot)
    assert lake.embodiment(robot.digest) == robot
    assert lake.embodiment(robot.digest).digest == robot.digest


def test_a_table_that_was_not_kept_is_named(local_lake):
    with pytest.raises(SchemaError, match=r"embodiments/0000.json is missing"):
        local_lake.embodiment("0000")
