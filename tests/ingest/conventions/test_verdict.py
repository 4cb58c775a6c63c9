"""A source that contradicts its table is stopped before anything is committed, and taken when that is accepted."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from ingest.conventions import probe as probing
from ingest.conventions import verdict
from ingest.conventions.probe import PROBE_EPISODES, probes
from ingest.conventions.verdict import ConventionError, findings_of
from ingest.job import Request, ingest
from ingest.plan import Plan, PlannedBundle
from ingest.record import Problem, Record
from schema.errors import ConfigError
from schema.lake import Lake
from tests.ingest.conventions.mutations import in_degrees
from tests.ingest.driving import aloha_source


@pytest.fixture
def source(tmp_path, alone):
    """Four tiny logs, to be ingested without Ray; `takes` counts how often one was read for the probe."""
    request = Request(uri=str(aloha_source(tmp_path / "logs", 4, steps=3)))
    return SimpleNamespace(request=request, lake=str(tmp_path / "lake"), takes=[])


@pytest.fixture
def in_wrong_units(source, monkeypatch):
    """The same logs, whose joints turn out to be in degrees."""
    sound = probing.convert

    def faulty(job, raw, record, *, see):
        source.takes.append(record.index)
        episode = in_degrees(sound(job, raw, record, see=see))
        return replace(episode, signals={name: 100 * values for name, values in episode.signals.items()})

    monkeypatch.setattr(probing, "convert", faulty)
    return source


def test_a_sound_source_is_taken_and_its_findings_are_in_the_lake(source):
    report = ingest(source.request, lake_uri=source.lake)

    rows = Lake.open(source.lake).scan("findings").collect()
    assert report.outcomes["committed"] == 4
    assert set(rows["ingest_run"]) == {report.ingest_run}
    assert {"units", "rate", "gaps", "camera_black"} <= set(rows["check"])
    assert "contradicts" not in set(rows["status"])


def test_a_contradiction_stops_the_source_before_anything_is_committed(in_wrong_units):
    with pytest.raises(ConventionError, match=r"(?s)'bimanual_trossen'.*units, state\.left_joint.*--accept units"):
        ingest(in_wrong_units.request, lake_uri=in_wrong_units.lake)

    lake = Lake.open(in_wrong_units.lake)
    assert lake.scan("episodes").collect().is_empty()
    found = lake.scan("findings").filter(status="contradicts").collect()
    assert set(found["check"]) == {"units"}
    assert not found["accepted"].any()
    assert (found["confidence"] > 0.5).all()


def test_an_accepted_contradiction_is_taken_and_kept_as_accepted(in_wrong_units):
    report = ingest(replace(in_wrong_units.request, accept=("units",)), lake_uri=in_wrong_units.lake)

    accepted = Lake.open(in_wrong_units.lake).scan("findings").filter(pl.col("accepted")).collect()
    assert report.outcomes["committed"] == 4
    assert set(accepted["check"]) == {"units"}
    assert any(note.startswith("accepted: units, state.left_joint_position") for note in report.notes)


def test_to_accept_another_check_does_not_help(in_wrong_units):
    with pytest.raises(ConventionError):
        ingest(replace(in_wrong_units.request, accept=("rate",)), lake_uri=in_wrong_units.lake)


def test_the_same_ingest_judges_the_same_without_reading_again(in_wrong_units):
    messages = []
    for _ in range(2):
        with pytest.raises(ConventionError) as caught:
            ingest(in_wrong_units.request, lake_uri=in_wrong_units.lake)
        messages.append(str(caught.value))

    assert messages[0] == messages[1]
    assert sorted(in_wrong_units.takes) == [0, 1, 2, 3]


def test_what_was_stopped_goes_on_when_it_is_accepted_later_without_reading_again(in_wrong_units):
    with pytest.raises(ConventionError):
        ingest(in_wrong_units.request, lake_uri=in_wrong_units.lake)

    report = ingest(replace(in_wrong_units.request, accept=("units",)), lake_uri=in_wrong_units.lake)

    lake = Lake.open(in_wrong_units.lake)
    assert report.outcomes["committed"] == 4
    assert len(in_wrong_units.takes) == 4
    assert lake.scan("findings").filter(pl.col("accepted")).collect().height > 0
    assert len(findings_of(lake, report.ingest_run)) == len(
        {(f.check, f.subject) for f in findings_of(lake, report.ingest_run)}
    )


def test_what_comes_out_of_quarantine_is_not_probed_again(source, monkeypatch):
    (Path(source.request.uri) / "episode_3.hdf5").write_bytes(b"cut")
    first = ingest(source.request, lake_uri=source.lake)
    (reason,) = first.quarantine
    monkeypatch.setattr(verdict, "probes", kill)

    again = ingest(replace(source.request, retry=reason), lake_uri=source.lake)

    assert (first.outcomes["committed"], again.discovered, again.quarantine) == (3, 1, {reason: 1})


class Killed(BaseException):
    """The driver's death, as far as one process can play it."""


def kill(*_, **__):
    raise Killed


@pytest.mark.parametrize(("dies_in", "reads"), [("judge", 8), ("_keep", 8), ("_report", 4)])
def test_a_driver_that_dies_around_the_verdict_comes_to_the_same_one(in_wrong_units, monkeypatch, dies_in, reads):
    with monkeypatch.context() as patch:
        patch.setattr(verdict, dies_in, kill)
        with pytest.raises(Killed):
            ingest(in_wrong_units.request, lake_uri=in_wrong_units.lake)

    with pytest.raises(ConventionError, match="--accept units"):
        ingest(in_wrong_units.request, lake_uri=in_wrong_units.lake)

    lake = Lake.open(in_wrong_units.lake)
    rows = lake.scan("findings").select("check", "subject").collect()
    assert rows.n_unique() == rows.height
    assert lake.scan("episodes").collect().is_empty()
    assert len(in_wrong_units.takes) == reads


def test_a_word_that_names_no_check_is_refused_before_anything_is_read(source):
    with pytest.raises(ConfigError, match="'gripper' names no check: choose from gripper_sign"):
        ingest(replace(source.request, accept=("gripper",)), lake_uri=source.lake)


def plan_of(num_records, broken=()):
    problem = Problem(reason="cut", message="cut")
    records = [Record(index=i, files=(f"{i}",), problem=problem if i in broken else None) for i in range(num_records)]
    halves = [records[: num_records // 3], records[num_records // 3 :]]
    bundles = [
        PlannedBundle(bundle_id=str(n), records=tuple(half), source_keys=tuple(r.files[0] for r in half))
        for n, half in enumerate(halves)
    ]
    return Plan(plan_id="plan", bundles=tuple(bundles), known=())


def probed(plan):
    return [bundle.records[0].index for bundle in probes(plan)]


def test_all_of_a_small_source_is_probed_but_what_is_known_to_be_broken():
    assert probed(plan_of(6, broken={2})) == [0, 1, 3, 4, 5]


def test_a_large_source_is_probed_from_its_first_to_its_last_episode():
    chosen = probed(plan_of(100_000))

    assert len(chosen) == PROBE_EPISODES
    assert (chosen[0], chosen[-1]) == (0, 99_999)
    assert max(b - a for a, b in pairwise(chosen)) < 3300
    assert chosen == probed(plan_of(100_000))


def test_a_source_without_a_sound_episode_is_not_probed():
    assert probed(plan_of(2, broken={0, 1})) == []
