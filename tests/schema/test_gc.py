"""Garbage: what killed ingests leave, and nothing else, found by reference and by age."""

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest

from schema.gc import DEFAULT_AGE, find_garbage, remove
from schema.lake import Lake
from schema.verify import verify
from tests.lakes import make_episode, store

NOW = timedelta(0)
HOUR = 3600


@pytest.fixture
def full_lake(lake, tmp_path):
    """Two episodes, of which one has been converted anew."""
    store(lake, tmp_path, [make_episode(0, num_frames=2), make_episode(1, num_frames=2)], bundle_id="b1")
    store(lake, tmp_path, [make_episode(1, num_frames=2, image_size=16)], bundle_id="b2", conversion="c2")
    return lake


def names(garbage):
    return [item.file for item in garbage]


def age(lake: Lake, file: str, hours: float) -> None:
    then = time.time() - hours * HOUR
    os.utime(lake.path(file), (then, then))


def test_a_lake_without_killed_ingests_has_no_garbage(full_lake):
    assert find_garbage(full_lake, older_than=NOW) == []


def test_an_unreferenced_shard_is_garbage_and_goes(full_lake):
    full_lake.write("shards/tiny/dead.tar", b"12345")
    full_lake.write("shards/other/dead.parquet", b"1")
    garbage = find_garbage(full_lake, older_than=NOW)
    assert names(garbage) == ["shards/other/dead.parquet", "shards/tiny/dead.tar"]
    assert [item.size_bytes for item in garbage] == [1, 5]
    remove(full_lake, garbage)
    assert find_garbage(full_lake, older_than=NOW) == []
    assert not full_lake.exists("shards/tiny/dead.tar")


def test_shards_of_superseded_rows_stay(full_lake):
    before = full_lake.scan("episodes").collect()
    remove(full_lake, find_garbage(full_lake, older_than=NOW))
    assert before["conversion"].n_unique() == 2
    assert verify(full_lake).problems == ()


def test_young_files_are_left_alone(full_lake):
    full_lake.write("shards/tiny/young.tar", b"1")
    assert find_garbage(full_lake) == []


def test_the_age_counts_from_the_last_write(local_lake):
    for hours in (1, 23, 25, 400):
        local_lake.write(f"shards/tiny/{hours:03d}.tar", b"1")
        age(local_lake, f"shards/tiny/{hours:03d}.tar", hours)
    assert timedelta(hours=24) == DEFAULT_AGE
    assert names(find_garbage(local_lake)) == ["shards/tiny/025.tar", "shards/tiny/400.tar"]


def test_halves_of_files_are_garbage_wherever_they_lie(local_lake):
    for file in ("plans/a.json.123.part", "shards/tiny/b.tar.456.part", "plans/whole.json", "locks/l/lock.json"):
        local_lake.write(file, b"1")
        age(local_lake, file, 48)
    assert names(find_garbage(local_lake)) == ["plans/a.json.123.part", "shards/tiny/b.tar.456.part"]


def test_tables_plans_locks_and_embodiments_are_never_garbage(full_lake):
    full_lake.write("plans/p.json", b"{}")
    full_lake.write("locks/l/lock.json", b"{}")
    assert find_garbage(full_lake, older_than=NOW) == []


def test_what_is_committed_while_garbage_is_looked_for_is_none(local_lake, tmp_path, monkeypatch):
    find, late = local_lake.fs.find, []

    def slow(*args, **words):
        found = find(*args, **words)
        if not late:
            late.append(True)
            store(local_lake, tmp_path, [make_episode(num_frames=1)])
            found = find(*args, **words)
        return found

    monkeypatch.setattr(local_lake.fs, "find", slow)
    assert find_garbage(local_lake, older_than=NOW) == []


def test_what_is_committed_before_it_is_removed_stays(local_lake, tmp_path):
    episode = make_episode(num_frames=1)
    store(Lake.open_or_create(str(tmp_path / "other")), tmp_path, [episode])
    shards = sorted((tmp_path / "other" / "shards" / "tiny").iterdir())
    for shard in shards:
        local_lake.upload(shard, f"shards/tiny/{shard.name}")
    garbage = find_garbage(local_lake, older_than=NOW)
    assert [Path(name).name for name in names(garbage)] == [shard.name for shard in shards]
    store(local_lake, tmp_path, [episode])
    remove(local_lake, garbage)
    assert verify(local_lake).problems == ()


def test_two_may_remove_the_same_garbage(lake):
    lake.write("shards/tiny/dead.tar", b"1")
    garbage = find_garbage(lake, older_than=NOW)
    remove(lake, garbage)
    remove(lake, garbage)
    assert find_garbage(lake, older_than=NOW) == []
