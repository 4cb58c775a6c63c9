"""The peers' run: ratios are within rounds, and a reader that fails is named."""

import sys
from importlib import import_module
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def peers(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield import_module("peers")
    for name in ("peers", "peers_environments", "peers_report"):
        sys.modules.pop(name)


@pytest.fixture
def found(peers):
    def one(name, rates, cpu):
        times = {"first_batch_s": {0: 0.1, 2: 0.1}, "resume_s": {0: None, 2: 0.2}, "exact": {0: False, 2: True}}
        return peers.Found(name=name, title=name, rates={0: rates, 2: rates}, cpu={0: cpu, 2: cpu}, **times)

    return [one("bare_loop", [100.0, 50.0, 10.0], [1.0, 1.0, 2.0]), one("robomix", [90.0, 48.0, 9.5], [1.1, 1.2, 2.2])]


def test_a_ratio_is_the_median_of_the_ratios_within_the_rounds(peers, found):
    _, ours = peers.rows(found, samples=10)

    assert ours["at_2"]["ratio"] == pytest.approx(0.95)
    assert ours["at_2"]["ratio_range"] == pytest.approx((0.9, 0.96))
    assert ours["at_2"]["cpu_ratio"] == pytest.approx(1.1)


def test_a_reader_that_failed_is_named_below_the_table_with_its_reason(peers, found):
    found.append(peers.Found(name="litdata", title="litdata", failed="open: it has no chunks"))

    text = peers.table(peers.rows(found, samples=10))

    assert "- litdata is left out: open: it has no chunks" in text
    assert "| robomix | 48 | 0.95 (0.90–0.96) |" in text


def test_the_picture_shows_each_reader_that_was_measured(peers, found, tmp_path):
    peers.plot(peers.rows(found, samples=10), tmp_path / "peers.png")

    assert (tmp_path / "peers.png").read_bytes().startswith(b"\x89PNG")


def test_what_a_reader_says_of_its_failure_is_the_error(peers, tmp_path):
    spec = peers.SPECS[0]

    talk = peers.Talk(spec, Path(sys.executable), cache=tmp_path)

    with pytest.raises(peers.PeerError, match="open: FileNotFoundError"):
        talk.ask("open", data=str(tmp_path / "nothing"), workers=0)
    talk.end()
