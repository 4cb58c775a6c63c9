"""A source that grew is read for what is new only, whatever its format and wherever in its order that stands."""

import shutil

import pytest

from ingest import job as jobs
from ingest.job import Request, ingest
from schema.lake import Lake
from tests.ingest.driving import assert_sound
from tests.ingest.writers import rlds_episode, write_aloha, write_lerobot, write_rlds

pytestmark = pytest.mark.usefixtures("alone")


def grow_aloha(folder):
    """A folder of a task, then another one that sorts before it."""
    write_aloha(folder / "task_b" / "episode_0.hdf5", number=0)
    write_aloha(folder / "task_b" / "episode_1.hdf5", number=1)
    yield
    write_aloha(folder / "task_a" / "episode_0.hdf5", number=2)


def grow_lerobot(folder):
    """A dataset of two episodes that is recorded on to three; the first two files stay as they are."""
    write_lerobot(folder / "logs")
    yield
    longer = write_lerobot(folder.parent / "longer", num_episodes=3)
    for path in sorted(longer.rglob("*")):
        target = folder / "logs" / path.relative_to(longer)
        if path.is_file() and (path.parent.name == "meta" or not target.exists()):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)


def grow_rlds(folder):
    """A version folder, then another one that sorts before it."""
    write_rlds(folder / "b", [rlds_episode(number) for number in range(2)])
    yield
    write_rlds(folder / "a", [rlds_episode(2)])


@pytest.mark.parametrize("grow", [grow_aloha, grow_lerobot, grow_rlds])
def test_a_source_that_grew_is_read_for_its_new_records_only(tmp_path, grow, monkeypatch):
    source, lake = tmp_path / "source", str(tmp_path / "lake")
    source.mkdir()
    steps = grow(source)
    next(steps)
    first = ingest(Request(uri=str(source), source="logs"), lake_uri=lake)
    next(steps, None)
    read = []
    real = jobs.run_bundle

    def counting(job, bundle):
        read.extend(bundle.records)
        return real(job, bundle)

    monkeypatch.setattr(jobs, "run_bundle", counting)
    second = ingest(Request(uri=str(source), source="logs"), lake_uri=lake)

    assert first.outcomes["committed"] == 2
    assert (second.outcomes["committed"], second.outcomes["duplicate"], second.discovered) == (1, 2, 3)
    assert len(read) == 1
    assert_sound(Lake.open(lake))
