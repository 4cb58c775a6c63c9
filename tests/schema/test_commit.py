"""The commit protocol: no episode twice and none lost, whoever commits at once and wherever a driver dies."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from deltalake import CommitProperties, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from schema import commit as protocol
from schema.commit import OUTCOMES, Bundle, commit, compact, done_bundles, tally
from schema.errors import SchemaError
from schema.lake import Lake
from schema.tables import TABLES
from tests import forked
from tests.lakes import annotation_row, catalogue_row, quarantine_row


def bundle(name, *episodes, conversion="c1", source="tiny", quarantined=(), duplicates=()):
    """A bundle whose episodes have an instruction each."""
    return Bundle(
        bundle_id=name,
        episodes=tuple(catalogue_row(episode, conversion=conversion, source=source) for episode in episodes),
        annotations=tuple(annotation_row(episode, f"do {episode}") for episode in episodes),
        quarantine=tuple(quarantine_row(record, conversion=conversion, source=source) for record in quarantined),
        duplicates=tuple(duplicates),
    )


def contents(lake):
    """What the lake says, whatever files it stands in."""
    return {
        "rows": sorted(
            lake.scan("episodes").select("episode_id", "conversion", "supersedes").collect().iter_rows(), key=str
        ),
        "live": sorted(lake.episodes().select("episode_id", "conversion").collect().iter_rows()),
        "texts": sorted(lake.annotations().select("episode_id", "text").collect().iter_rows()),
        "quarantine": sorted(lake.quarantine().select("source_key", "conversion").collect().iter_rows()),
    }


# ── the account ────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_record_has_one_outcome(lake):
    commit(lake, [bundle("old", "e1", "e2")])
    outcomes = commit(
        lake,
        [
            bundle("b1", "e1", "e3", quarantined=["q1"], duplicates=["tiny/d1"]),
            bundle("b2", "e2", conversion="c2"),
        ],
    )
    assert outcomes == {
        "tiny/e1/c1": "duplicate",
        "tiny/e3/c1": "committed",
        "tiny/q1/c1": "quarantined",
        "tiny/d1": "duplicate",
        "tiny/e2/c2": "superseded",
    }
    assert tally(outcomes.values()) == {"committed": 1, "duplicate": 2, "superseded": 1, "quarantined": 1}
    assert contents(lake)["live"] == [("e1", "c1"), ("e2", "c2"), ("e3", "c1")]


def test_a_tally_names_every_outcome():
    assert tally([]) == dict.fromkeys(OUTCOMES, 0)


def test_the_same_bundle_twice_changes_nothing(lake):
    both = [bundle("b1", "e1", "e2", quarantined=["q1"])]
    assert tally(commit(lake, both).values())["committed"] == 2
    before, versions = contents(lake), [lake.version(name) for name in ("episodes", "annotations", "quarantine")]
    assert set(commit(lake, both).values()) == {"duplicate", "quarantined"}
    assert contents(lake) == before
    assert [lake.version(name) for name in ("episodes", "annotations", "quarantine")] == versions


def test_an_episode_that_comes_twice_in_a_bundle_is_taken_once(local_lake):
    first, second = catalogue_row("e1"), catalogue_row("e1") | {"source_key": "elsewhere"}
    outcomes = commit(local_lake, [Bundle(bundle_id="b1", episodes=(first, second))])
    assert outcomes == {"tiny/e1/c1": "committed", "elsewhere": "duplicate"}
    assert local_lake.scan("episodes").collect().height == 1


def test_an_episode_that_comes_from_two_bundles_or_sources_is_taken_once(local_lake):
    outcomes = commit(local_lake, [bundle("b1", "e1"), bundle("b2", "e1", source="copy")])
    outcomes |= commit(local_lake, [bundle("b3", "e1", source="mirror")])
    assert outcomes == {"tiny/e1/c1": "committed", "copy/e1/c1": "duplicate", "mirror/e1/c1": "duplicate"}
    assert contents(local_lake)["texts"] == [("e1", "do e1")]


def test_two_conversions_in_one_commit_supersede_in_their_order(local_lake):
    outcomes = commit(local_lake, [bundle("b1", "e1"), bundle("b2", "e1", conversion="c2")])
    assert list(outcomes.values()) == ["committed", "superseded"]
    assert contents(local_lake)["live"] == [("e1", "c2")]


@pytest.mark.parametrize("held", ["nothing", "only quarantine", "only duplicates"])
def test_a_bundle_without_episodes_is_done_all_the_same(local_lake, held):
    quarantined, duplicates = ["q1"] * (held == "only quarantine"), ["d1"] * (held == "only duplicates")
    commit(local_lake, [bundle("b1", quarantined=quarantined, duplicates=duplicates)])
    assert done_bundles(local_lake, ["b1", "b2"]) == {"b1"}
    assert local_lake.scan("episodes").collect().is_empty()


def test_no_bundles_are_no_commit(local_lake):
    assert commit(local_lake, []) == {}
    assert local_lake.version("episodes") == 0


def test_a_bundle_done_again_with_more_loses_none_of_it(lake):
    commit(lake, [bundle("b1", "e1", quarantined=["e2"])])
    outcomes = commit(lake, [bundle("b1", "e1", "e2", quarantined=["e3"])])
    assert outcomes == {"tiny/e1/c1": "duplicate", "tiny/e2/c1": "committed", "tiny/e3/c1": "quarantined"}
    assert contents(lake) == {
        "rows": [("e1", "c1", None), ("e2", "c1", None)],
        "live": [("e1", "c1"), ("e2", "c1")],
        "texts": [("e1", "do e1"), ("e2", "do e2")],
        "quarantine": [("tiny/e3/c1", "c1")],
    }


# ── several drivers at once ────────────────────────────────────────────────────────────────────────────────────


def drive(uri: str, driver: int) -> list[dict[str, str]]:
    """A driver's commits: episodes of its own, episodes that all have, one bundle that all share."""
    lake = Lake.open(uri)
    return [
        dict(commit(lake, [bundle(f"d{driver}-0", f"own-{driver}", "all-0", "all-1", source=f"s{driver}")])),
        dict(commit(lake, [bundle(f"d{driver}-1", "all-2", conversion="c2", source=f"s{driver}", quarantined=["q"])])),
        dict(commit(lake, [bundle("shared", "all-3", "all-4", source=f"s{driver}")])),
    ]


def check_drivers(lake, answers):
    drivers = len(answers)
    rows = lake.scan("episodes").select("episode_id", "conversion").collect()
    owned = {(f"own-{driver}", "c1") for driver in range(drivers)}
    shared = {("all-2", "c2"), *((f"all-{number}", "c1") for number in (0, 1, 3, 4))}
    assert Counter(rows.iter_rows()) == Counter(owned | shared)
    outcomes = tally(outcome for answer in answers for part in answer for outcome in part.values())
    assert sum(outcomes.values()) == drivers * 7
    assert outcomes["committed"] == drivers + 5
    assert outcomes["quarantined"] == drivers
    assert contents(lake)["texts"] == sorted((episode, f"do {episode}") for episode, _ in owned | shared)
    assert len(contents(lake)["quarantine"]) == drivers
    names = {"shared", *(f"d{driver}-{part}" for driver in range(drivers) for part in (0, 1))}
    assert done_bundles(lake, [*names, "other"]) == names


@pytest.mark.parametrize("drivers", [2, 8])
def test_drivers_in_threads_take_every_episode_once(lake, drivers):
    with ThreadPoolExecutor(drivers) as pool:
        answers = list(pool.map(lambda driver: drive(lake.uri, driver), range(drivers)))
    check_drivers(lake, answers)


@pytest.mark.slow
def test_five_drivers_in_processes_take_every_episode_once(local_lake):
    with forked.pool(5) as pool:
        answers = list(pool.map(drive, [local_lake.uri] * 5, range(5)))
    check_drivers(local_lake, answers)


def test_two_drivers_in_processes_share_a_lake(lake):
    with forked.pool(2) as pool:
        answers = list(pool.map(drive, [lake.uri] * 2, range(2)))
    check_drivers(lake, answers)


def test_a_driver_that_was_overtaken_reads_again(lake, monkeypatch):
    overtaken = []

    def slow(*args, **words):
        if not overtaken:
            overtaken.append(True)
            commit(lake, [bundle("fast", "e1", "e2")])
        return write_deltalake(*args, **words)

    monkeypatch.setattr(protocol, "write_deltalake", slow)
    outcomes = commit(lake, [Bundle(bundle_id="slow", episodes=(catalogue_row("e2"), catalogue_row("e3")))])
    assert outcomes == {"tiny/e2/c1": "duplicate", "tiny/e3/c1": "committed"}
    assert [row[0] for row in contents(lake)["rows"]] == ["e1", "e2", "e3"]


def test_a_driver_that_was_overtaken_supersedes_what_is_live_by_then(lake, monkeypatch):
    commit(lake, [bundle("old", "e1", conversion="c1")])
    overtaken = []

    def slow(*args, **words):
        if not overtaken:
            overtaken.append(True)
            commit(lake, [bundle("fast", "e1", conversion="c2")])
        return write_deltalake(*args, **words)

    monkeypatch.setattr(protocol, "write_deltalake", slow)
    commit(lake, [Bundle(bundle_id="slow", episodes=(catalogue_row("e1", conversion="c3"),))])
    assert contents(lake)["rows"] == [("e1", "c1", None), ("e1", "c2", "c1"), ("e1", "c3", "c2")]
    assert contents(lake)["live"] == [("e1", "c3")]


def test_commits_go_on_while_the_lake_is_compacted(local_lake):
    def commit_all(driver):
        for number in range(10):
            commit(local_lake, [bundle(f"{driver}-{number}", f"e{driver}-{number}")])

    with ThreadPoolExecutor(3) as pool:
        commits = [pool.submit(commit_all, driver) for driver in range(2)]
        compactions = [pool.submit(compact, Lake(local_lake.uri)) for _ in range(5)]
        for future in commits + compactions:
            future.result()
    assert contents(local_lake)["live"] == sorted((f"e{driver}-{n}", "c1") for driver in range(2) for n in range(10))


# ── a driver dies ──────────────────────────────────────────────────────────────────────────────────────────────


class Killed(BaseException):
    """As a SIGKILL: nothing catches it."""


def kill_at(monkeypatch, call, *, after):
    """Die at the so-manieth write of a commit, before or after it is done."""
    calls = []

    def dying(*args, **words):
        calls.append(True)
        if len(calls) != call:
            return write_deltalake(*args, **words)
        if after:
            write_deltalake(*args, **words)
        raise Killed

    monkeypatch.setattr(protocol, "write_deltalake", dying)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("call", [1, 2, 3], ids=["quarantine", "annotations", "episodes"])
def test_a_commit_that_dies_anywhere_and_is_done_again_gives_the_same_lake(lake, tmp_path, monkeypatch, call, after):
    group = [bundle("b1", "e1", "e2", quarantined=["q1"]), bundle("b2", "e3", quarantined=["q2"])]
    other = Lake.open_or_create(str(tmp_path / "undisturbed"))
    commit(other, group)
    kill_at(monkeypatch, call, after=after)
    with pytest.raises(Killed):
        commit(lake, group)
    is_in = bool(lake.scan("episodes").collect().height)
    assert is_in == (call == 3 and after)
    assert done_bundles(lake, ["b1", "b2"]) == ({"b1", "b2"} if is_in else set())
    monkeypatch.setattr(protocol, "write_deltalake", write_deltalake)
    outcomes = commit(lake, group)
    assert set(outcomes.values()) == {"duplicate" if is_in else "committed", "quarantined"}
    assert contents(lake) == contents(other)
    assert lake.scan("annotations").collect().height == 3
    assert lake.scan("quarantine").collect().height == 2


def test_what_a_second_try_finds_besides_is_not_lost(lake, monkeypatch):
    """A network that failed one record the first time, and another one the second time."""
    kill_at(monkeypatch, 3, after=False)
    with pytest.raises(Killed):
        commit(lake, [bundle("b1", "e1", quarantined=["e2"])])
    monkeypatch.setattr(protocol, "write_deltalake", write_deltalake)
    commit(lake, [bundle("b1", "e2", quarantined=["e1"])])
    assert contents(lake)["live"] == [("e2", "c1")]
    assert ("e2", "do e2") in contents(lake)["texts"]
    assert contents(lake)["quarantine"] == [("tiny/e1/c1", "c1")]


@pytest.mark.parametrize("table", ["quarantine", "annotations", "episodes"])
@pytest.mark.parametrize(
    "told",
    ["Failed to commit transaction: Concurrent transaction failed.", "Failed to commit transaction: 15"],
    ids=["conflict", "delta gave up"],
)
def test_a_commit_that_is_refused_for_ever_gives_up_with_a_reason(local_lake, monkeypatch, table, told):
    def refuse(target, *args, **words):
        if table in target.table_uri:
            raise CommitFailedError(told)
        write_deltalake(target, *args, **words)

    monkeypatch.setattr(protocol, "write_deltalake", refuse)
    monkeypatch.setattr(protocol, "_wait", lambda _: None)
    monkeypatch.setattr(protocol, "_MAX_TRIES", 5)
    with pytest.raises(SchemaError, match=r"5 commits .*refused.* too many"):
        commit(local_lake, [bundle("b1", "e1", quarantined=["q1"])])


@pytest.mark.parametrize("error", [CommitFailedError("the schema is wrong"), DeltaError("disk full")])
def test_an_error_that_is_no_conflict_is_not_tried_again(local_lake, monkeypatch, error):
    calls = []

    def fail(*_, **__):
        calls.append(True)
        raise error

    monkeypatch.setattr(protocol, "write_deltalake", fail)
    with pytest.raises(type(error), match=str(error)):
        commit(local_lake, [Bundle(bundle_id="b1", episodes=(catalogue_row("e1"),))])
    assert len(calls) == 1


# ── compaction ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_compaction_keeps_every_row_and_what_is_done(lake):
    names = [f"b{number}" for number in range(6)]
    for number, name in enumerate(names):
        commit(lake, [bundle(name, f"e{number}", "e0", conversion=f"c{number % 2}", quarantined=[f"q{number}"])])
    before = contents(lake)
    compact(lake)
    assert contents(lake) == before
    assert len(lake.table("episodes").file_uris()) == 1
    assert done_bundles(Lake(lake.uri), [*names, "other"]) == set(names)
    assert set(commit(lake, [bundle("b0", "e0", conversion="c0")]).values()) == {"duplicate"}


def test_what_is_done_is_known_from_a_checkpoint_alone(local_lake):
    for number in range(5):
        commit(local_lake, [bundle(f"b{number}", f"e{number}", quarantined=[f"q{number}"])])
    compact(local_lake)
    for name in ("episodes", "annotations", "quarantine"):
        log = Path(local_lake.path(f"{name}/_delta_log"))
        newest = local_lake.version(name)
        for file in log.glob("*.json"):
            if int(file.stem) < newest:
                file.unlink()
    before = contents(local_lake)
    assert done_bundles(local_lake, ["b0", "b4", "b9"]) == {"b0", "b4"}
    assert set(commit(local_lake, [bundle("b3", "e3", quarantined=["q3"])]).values()) == {"duplicate", "quarantined"}
    assert set(commit(local_lake, [bundle("b9", "e9")]).values()) == {"committed"}
    assert contents(local_lake)["live"] == [*before["live"], ("e9", "c1")]


def test_an_empty_lake_can_be_compacted(lake):
    compact(lake)
    assert lake.episodes().collect().is_empty()


@pytest.mark.slow
def test_the_catalogue_is_right_after_100_commits(local_lake):
    table = local_lake.table("episodes")
    for number in range(70):  # what commits leave, without reading the lake before each
        row = catalogue_row(f"e{number}", conversion="c0")
        transactions = [Transaction("robomix.commit", number + 1), Transaction(f"b{number}", 1)]
        write_deltalake(
            table,
            pa.Table.from_pylist([row], schema=TABLES["episodes"]),
            mode="append",
            commit_properties=CommitProperties(app_transactions=transactions),
        )
    for number in range(70, 100):
        rows = (catalogue_row(f"e{number - 70}", conversion="c1"),)
        assert set(commit(local_lake, [Bundle(bundle_id=f"b{number}", episodes=rows)]).values()) == {"superseded"}
    assert local_lake.version("episodes") >= 100  # and merges of small files among them
    expected = sorted((f"e{number}", "c1" if number < 30 else "c0") for number in range(70))
    assert contents(local_lake)["live"] == expected
    compact(local_lake)
    assert contents(local_lake)["live"] == expected
    assert local_lake.scan("episodes").collect().height == 100
    found = local_lake.episodes().filter(pl.col("episode_id") == "e7").collect()
    assert found["conversion"].to_list() == ["c1"]
    assert done_bundles(local_lake, [f"b{number}" for number in range(101)]) == {f"b{number}" for number in range(100)}
    assert local_lake.episodes(version=10).collect().height == 10


def test_however_many_commits_were_made_few_files_and_log_entries_are_read(local_lake):
    for number in range(2 * protocol.MERGE_EVERY + 7):
        commit(local_lake, [bundle(f"b{number}", f"e{number}")])
    for name in ("episodes", "annotations"):
        log = Path(local_lake.path(f"{name}/_delta_log"))
        newest = max(int(file.name[:20]) for file in log.glob("*.checkpoint.parquet"))
        files = local_lake.table(name).file_uris()
        assert len(files) <= protocol.MERGE_EVERY
        assert local_lake.version(name) - newest < 4
    assert local_lake.episodes().collect().height == 2 * protocol.MERGE_EVERY + 7
