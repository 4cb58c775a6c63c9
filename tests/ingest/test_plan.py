"""What an ingest sets out to do: found again by the same request, made anew for new records, cut by bytes."""

import os
import shutil

import pytest

from ingest import plan as planning
from ingest.job import Request, prepare
from ingest.plan import conversion_of, make_plan, source_keys
from schema.commit import Bundle, commit
from schema.embodiment import load_embodiment
from schema.errors import ConfigError
from schema.lake import Lake
from schema.picture import ImageSettings
from tests.ingest.driving import REPO, aloha_source


@pytest.fixture
def lake(tmp_path):
    return Lake.open_or_create(str(tmp_path / "lake"))


def planned(lake, source, **changes):
    prepared = prepare(Request(uri=str(source), **changes))
    return make_plan(
        lake, prepared.location, prepared.discovery, source=prepared.source, conversion=prepared.conversion
    )


def indices(plan):
    return [record.index for bundle in plan.bundles for record in bundle.records]


def quarantined(lake, source, key, *, reason, bundle_id):
    """Commit a quarantine row for the record of this key, as a bundle that could not take it would."""
    prepared = prepare(Request(uri=str(source)))
    row = {
        "source_key": key,
        "conversion": prepared.conversion,
        "source": prepared.source,
        "reason": reason,
        "format_version": 1,
    }
    commit(lake, [Bundle(bundle_id=bundle_id, episodes=(), quarantine=(row,))])


def test_the_same_request_finds_its_plan_again(lake, tmp_path):
    source = aloha_source(tmp_path / "logs")

    first = planned(lake, source)

    assert planned(lake, source) == first
    assert len(lake.fs.ls(lake.path("plans"))) == 1
    assert indices(first) == [0, 1, 2, 3]


def test_a_plan_read_back_holds_what_was_written(lake, tmp_path):
    source = aloha_source(tmp_path / "logs", 3)
    (source / "episode_0.hdf5").write_bytes(b"no HDF5")

    first, again = planned(lake, source), planned(lake, source)

    assert again == first
    assert [record.problem is not None for bundle in again.bundles for record in bundle.records] == [True, False, False]


def test_a_source_that_grew_gets_a_new_plan_with_the_new_records_only(lake, tmp_path):
    source = aloha_source(tmp_path / "logs", 3)
    first = planned(lake, source)
    for key in first.bundles[0].source_keys:
        quarantined(lake, source, key, reason="too_short", bundle_id=key)
    aloha_source(source, 2, first=3)

    second = planned(lake, source)

    assert second.plan_id != first.plan_id
    assert indices(second) == [3, 4]
    assert second.known == tuple(sorted(first.bundles[0].source_keys))


def test_a_record_that_met_an_unforeseen_fault_is_planned_once_more_by_each_new_run(lake, tmp_path):
    source = aloha_source(tmp_path / "logs", 3)
    first = planned(lake, source)
    keys = first.bundles[0].source_keys
    for number, reason in enumerate(("too_short", "unexpected_oserror", "too_short")):
        quarantined(lake, source, keys[number], reason=reason, bundle_id=f"first-{number}")

    second = planned(lake, source)
    interrupted = planned(lake, source)
    quarantined(lake, source, keys[1], reason="unexpected_oserror", bundle_id="second")
    third = planned(lake, source)

    assert indices(second) == indices(third) == [1]
    assert interrupted == second
    assert len({first.plan_id, second.plan_id, third.plan_id}) == 3


def test_a_limit_plans_the_first_records_and_says_what_is_left(lake, tmp_path):
    source = aloha_source(tmp_path / "logs", 4)

    prepared = prepare(Request(uri=str(source), limit=3))

    assert indices(planned(lake, source, limit=3)) == [0, 1, 2]
    assert prepared.discovery.notes[-1] == "--limit 3: 1 of 4 records were left alone"


def test_a_limit_above_the_number_of_records_is_no_limit(lake, tmp_path):
    source = aloha_source(tmp_path / "logs", 2)

    assert planned(lake, source, limit=9) == planned(lake, source)


def test_bundles_are_cut_by_bytes_in_source_order(lake, tmp_path, monkeypatch):
    source = aloha_source(tmp_path / "logs", 5)
    size = prepare(Request(uri=str(source))).discovery.records[0].stored_bytes
    monkeypatch.setattr(planning, "_MIN_BUNDLE_BYTES", 2 * size)

    plan = planned(lake, source)

    assert [[record.index for record in bundle.records] for bundle in plan.bundles] == [[0, 1], [2, 3], [4]]
    assert len({bundle.bundle_id for bundle in plan.bundles}) == 3


def test_a_record_larger_than_a_shard_gets_a_bundle_of_its_own(lake, tmp_path, monkeypatch):
    source = aloha_source(tmp_path / "logs", 3)
    monkeypatch.setattr(planning, "_MIN_BUNDLE_BYTES", 1)
    monkeypatch.setattr(planning, "_BUNDLES_OF_A_SMALL_SOURCE", 10**9)

    assert [len(bundle.records) for bundle in planned(lake, source).bundles] == [1, 1, 1]


def test_bundles_of_other_records_never_share_an_id(tmp_path, monkeypatch):
    source = aloha_source(tmp_path / "logs", 4)
    whole = planned(Lake.open_or_create(str(tmp_path / "a")), source)
    monkeypatch.setattr(planning, "_MIN_BUNDLE_BYTES", 1)
    monkeypatch.setattr(planning, "_BUNDLES_OF_A_SMALL_SOURCE", 10**9)

    pieces = planned(Lake.open_or_create(str(tmp_path / "b")), source)

    assert pieces.plan_id == whole.plan_id
    assert not {bundle.bundle_id for bundle in whole.bundles} & {bundle.bundle_id for bundle in pieces.bundles}


def keys_of(source):
    prepared = prepare(Request(uri=str(source)))
    return source_keys(prepared.location, prepared.discovery.records)


def test_a_source_key_changes_with_the_time_of_modification(tmp_path):
    source = aloha_source(tmp_path / "logs", 2)
    before = keys_of(source)
    os.utime(source / "episode_1.hdf5", (1, 1))

    after = keys_of(source)

    assert (after[0] == before[0], after[1] == before[1]) == (True, False)


def test_a_source_key_changes_with_the_size(tmp_path):
    source = aloha_source(tmp_path / "logs", 1)
    stat = (source / "episode_0.hdf5").stat()
    before = keys_of(source)
    with (source / "episode_0.hdf5").open("ab") as file:
        file.write(b"more")
    os.utime(source / "episode_0.hdf5", ns=(stat.st_atime_ns, stat.st_mtime_ns))

    assert keys_of(source) != before


def test_a_source_key_changes_with_the_place(tmp_path):
    source = aloha_source(tmp_path / "logs", 1)
    shutil.copytree(source, tmp_path / "copy", copy_function=shutil.copy2)

    assert keys_of(source) != keys_of(tmp_path / "copy")


def test_a_conversion_is_told_by_adapter_embodiment_and_picture_settings():
    table = load_embodiment("ur5e")
    usual = conversion_of("aloha", 1, table, settings=ImageSettings())

    others = {
        conversion_of("aloha", 2, table, settings=ImageSettings()),
        conversion_of("rlds", 1, table, settings=ImageSettings()),
        conversion_of("aloha", 1, load_embodiment("widowx"), settings=ImageSettings()),
        conversion_of("aloha", 1, table, settings=ImageSettings(size=128)),
    }

    assert len(others - {usual}) == 4


def test_a_table_with_an_unknown_transform_is_refused_before_anything_is_planned(tmp_path):
    source = aloha_source(tmp_path / "logs", 1)
    text = (REPO / "schema/embodiments/bimanual_trossen.toml").read_text()
    (tmp_path / "mine.toml").write_text(text.replace("| invert_gripper", "| turn_gripper"))

    with pytest.raises(ConfigError, match=r"unknown transforms.*turn_gripper.*choose from"):
        prepare(Request(uri=str(source), embodiment=str(tmp_path / "mine.toml")))
