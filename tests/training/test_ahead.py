"""What is fetched from a remote lake: the very bytes that are needed, in a bounded memory, and faults are told."""

from pathlib import Path

import pytest

from curation.lock import Lock
from curation.make_lock import make_lock
from curation.recipe import parse_recipe
from schema.errors import SchemaError
from schema.lake import Lake
from tests.lakes import make_episode, store
from tests.training.test_loader import assert_same, copy_of, drawn
from training import ranges
from training.loader import Loader

RECIPE = "name: tiny\nsources: [{source: tiny}]\nchunk: {steps: 5}\nimage_size: 32\nprompt: {tag: true}\n"


@pytest.fixture
def remote(tmp_path: Path, s3_lake_uri: str) -> Lake:
    """Six episodes of two robots on S3, 70 frames each: a bit more than two segments."""
    lake = Lake.open_or_create(s3_lake_uri)
    robots = ("ur5e", "bimanual_trossen")
    store(lake, tmp_path, [make_episode(n, embodiment=robots[n % 2], num_frames=70) for n in range(6)])
    return lake


@pytest.fixture
def lock(remote: Lake) -> Lock:
    return make_lock(parse_recipe(RECIPE), remote)


@pytest.fixture
def local(remote: Lake, tmp_path: Path) -> str:
    """The same lake in a folder."""
    remote.fs.get(remote.root, str(tmp_path / "copy"), recursive=True)
    return str(tmp_path / "copy")


def picture_bytes(lock: Lock, local: str) -> int:
    """Of all frames."""
    return int(sum(sum(row["value"] for row in rows) for rows in Lake(local).episodes().collect()["camera_bytes"]))


@pytest.mark.parametrize("cache_bytes", [1, 40_000, 2**30], ids=["none", "small", "ample"])
def test_a_remote_lake_gives_the_batches_of_a_local_one_in_bounded_memory(lock, local, cache_bytes):
    with (
        Loader(lock, batch_size=6) as near,
        Loader(lock, batch_size=6, lake=local) as here,
        Loader(lock, batch_size=6, cache_bytes=cache_bytes) as far,
    ):
        for _ in range(40):
            batch = copy_of(next(far))
            assert_same(batch, copy_of(next(here)))
        assert far.ahead is not None
        assert here.ahead is None
        sample_bytes = picture_bytes(lock, local) / 420
        assert far.ahead.peak_bytes <= cache_bytes + 40 * sample_bytes
        assert_same(copy_of(next(near)), copy_of(next(Loader(lock, batch_size=6, lake=local, threads=0))))


def test_an_epoch_fetches_hardly_more_than_its_pictures_in_few_requests(lock, local):
    whole = picture_bytes(lock, local)
    with Loader(lock, batch_size=6, threads=0, cache_bytes=whole // 2) as loader:
        for _ in range(70):
            next(loader)
        fetched, requests = loader.shards.ranges.bytes_fetched, loader.shards.ranges.requests

    assert fetched < 2.5 * whole  # the tiniest of pictures have as long headers in the tar and rows in the Parquet
    assert requests < 420 / 4


def test_seeking_gives_what_a_loader_begun_there_gives(lock, local):
    with Loader(lock, batch_size=6) as far, Loader(lock, batch_size=6, lake=local, position=60) as here:
        for _ in range(3):
            next(far)
        far.seek(60)
        assert far.state() == 60
        assert_same(copy_of(next(far)), copy_of(next(here)))


class _Flaky:
    """Fails so many times, then reads."""

    def __init__(self, failures: int, error: OSError) -> None:
        self.left, self.error = failures, error

    def __call__(self, reader: ranges.Ranges, file: str, start: int, stop: int) -> bytes:
        if self.left:
            self.left -= 1
            raise self.error
        return bytes(reader.lake.fs.cat_file(reader.lake.path(file), start=start, end=stop))


def test_faults_that_pass_are_tried_again(lock, local, monkeypatch):
    flaky = _Flaky(3, OSError("AWS Error SLOW_DOWN: reduce your request rate"))
    monkeypatch.setattr(ranges, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(ranges.Ranges, "_fetch", flaky.__call__)
    with Loader(lock, batch_size=6) as far, Loader(lock, batch_size=6, lake=local) as here:
        assert_same(copy_of(next(far)), copy_of(next(here)))
    assert flaky.left == 0


@pytest.mark.parametrize(
    ("error", "tries"), [(OSError("timed out"), 6), (OSError("AWS Error ACCESS_DENIED during GetObject"), 1)]
)
def test_a_fault_that_stays_ends_in_one_error_that_says_what_to_do(lock, monkeypatch, error, tries):
    monkeypatch.setattr(ranges, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(ranges.Ranges, "_fetch", _Flaky(99, error).__call__)

    with (
        Loader(lock, batch_size=6) as loader,
        pytest.raises(SchemaError, match=f"in {tries} tries .*check the network"),
    ):
        next(loader)


def test_a_shard_that_was_cut_short_or_is_gone_is_named(lock, remote):
    (tar,) = remote.fs.glob(f"{remote.root}/shards/tiny/*.tar")
    whole = remote.fs.cat_file(tar)
    remote.fs.pipe_file(tar, whole[: len(whole) // 50])
    with pytest.raises(SchemaError, match=r"shards/tiny/.*\.tar"):
        drawn(lock, 70)
    remote.fs.rm(tar)
    with Loader(lock, batch_size=6) as loader, pytest.raises(SchemaError, match=r"shards/tiny/.*\.tar is missing"):
        next(loader)
