"""What is fetched from a remote lake: the very bytes that are needed, in a bounded memory, and faults are told."""

from collections.abc import Callable
from pathlib import Path

import pytest

from curation.lock import Lock
from curation.make_lock import make_lock
from curation.recipe import parse_recipe
from schema.errors import SchemaError
from schema.lake import Lake
from tests.lakes import make_episode, store
from tests.training.test_loader import assert_same, copy_of
from training import ahead, ranges
from training.loader import Loader

SAMPLE = r"[0-9a-f]{32}-\d{6}\.\w+"
RECIPE = "name: tiny\nsources: [{source: tiny}]\nchunk: {steps: 5}\nimage_size: 32\nprompt: {tag: true}\n"
FRAMES = 6 * 70


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Six episodes of two robots, a bit more than two segments each."""
    lake = Lake.open_or_create(str(tmp_path / "lake"))
    robots = ("ur5e", "bimanual_trossen")
    store(lake, tmp_path, [make_episode(n, embodiment=robots[n % 2], num_frames=70) for n in range(6)])
    return lake


@pytest.fixture
def lock(lake: Lake) -> Lock:
    return make_lock(parse_recipe(RECIPE), lake)


@pytest.fixture
def far(lock: Lock, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Loader]:
    """Opens a loader that takes the folder for a remote place."""

    def opened(**words: int) -> Loader:
        with monkeypatch.context() as patch:
            patch.setattr(Lake, "is_local", property(lambda _: False))
            return Loader(lock, **{"batch_size": 6, **words})

    monkeypatch.setattr(ranges, "FIRST_PAUSE_S", 0.001)
    return opened


def sample_bytes(lake: Lake) -> float:
    """Of the pictures of a frame, on average."""
    found = lake.episodes().collect()["camera_bytes"]
    return float(sum(one["value"] for row in found for one in row) / FRAMES)


def assert_same_batches(one: Loader, other: Loader, *, count: int) -> None:
    for _ in range(count):
        assert_same(copy_of(next(one)), copy_of(next(other)))


def noted(loader: Loader) -> list[tuple[int, int]]:
    """Where the ranges that the loader will have fetched of tars begin and end."""
    fetched: list[tuple[int, int]] = []
    read = loader.shards.ranges.read

    def noting(file: str, start: int, stop: int) -> bytes:
        if file.endswith(".tar"):
            fetched.append((start, stop))
        return read(file, start, stop)

    loader.shards.ranges.read = noting
    return fetched


def draw(loader: Loader, count: int) -> None:
    for _ in range(count):
        next(loader)


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("cache_bytes", [1, 400_000, 2**30], ids=["none", "small", "ample"])
def test_a_remote_lake_gives_the_batches_of_a_local_one_in_bounded_memory(lock, lake, far, cache_bytes, threads):
    with Loader(lock, batch_size=6) as near, far(cache_bytes=cache_bytes, threads=threads) as remote:
        assert_same_batches(remote, near, count=90)
        assert near.ahead is None
        assert remote.ahead is not None
        assert remote.ahead.peak_bytes <= 1.1 * cache_bytes + 24 * 2**16  # sizes are guessed first


def test_every_picture_of_an_epoch_is_fetched_once(lake, far):
    needed = FRAMES * sample_bytes(lake)
    with far(threads=0, cache_bytes=int(needed)) as loader:
        fetched = noted(loader)
        for _ in range(FRAMES // 6):
            next(loader)
        assert loader.ahead is not None
        held = loader.ahead.held_bytes

    tars = sum(stop - start for start, stop in fetched)
    headers = FRAMES * 5 * 1024  # names, padding and numbers in the tar: much beside such tiny pictures
    assert needed <= tars <= needed + held * 4 + headers
    assert len(fetched) < FRAMES / 3


def test_only_cameras_that_are_shown_are_fetched(tmp_path, monkeypatch):
    lake = Lake.open_or_create(str(tmp_path / "lake"))
    store(lake, tmp_path, [make_episode(n, embodiment="franka_droid", num_frames=70) for n in range(2)])
    any_exterior = "cameras: {base: [exterior], left_wrist: [wrist]}\ncamera_choice: {base: any}\n"
    lock = make_lock(parse_recipe(RECIPE + any_exterior), lake)
    monkeypatch.setattr(ahead, "GAP_BYTES", 0)
    with Loader(lock, batch_size=6) as near:
        monkeypatch.setattr(Lake, "is_local", property(lambda _: False))
        with Loader(lock, batch_size=6, cache_bytes=1) as remote:
            fetched = noted(remote)
            assert_same_batches(remote, near, count=20)
    assert 2 * 120 <= len(fetched) <= 2 * (120 + 24)  # three cameras are there; 24 samples are fetched ahead


def test_seeking_gives_what_a_loader_begun_there_gives(lock, far):
    with far() as remote, Loader(lock, batch_size=6, position=60) as near:
        for _ in range(3):
            next(remote)
        remote.seek(60)
        assert remote.state() == 60
        assert_same_batches(remote, near, count=3)


def failing(times: int, error: OSError) -> Callable[..., bytes]:
    """A fetch that fails so many times, then reads."""
    left = [times]

    def fetch(reader: ranges.Ranges, file: str, start: int, stop: int) -> bytes:
        if left[0]:
            left[0] -= 1
            raise error
        return bytes(reader.lake.fs.cat_file(reader.lake.path(file), start=start, end=stop))

    return fetch


def test_faults_that_pass_are_tried_again(lock, far, monkeypatch):
    monkeypatch.setattr(ranges.Ranges, "_fetch", failing(3, OSError("AWS Error SLOW_DOWN: reduce your request rate")))
    with far() as remote, Loader(lock, batch_size=6) as near:
        assert_same_batches(remote, near, count=2)


@pytest.mark.parametrize(
    ("error", "tries"), [(OSError("timed out"), 6), (OSError("AWS Error ACCESS_DENIED during GetObject"), 1)]
)
def test_a_fault_that_stays_ends_in_one_error_that_says_what_to_do(far, monkeypatch, error, tries):
    monkeypatch.setattr(ranges.Ranges, "_fetch", failing(1000, error))
    with far() as remote, pytest.raises(SchemaError, match=f"in {tries} tries .*check the network"):
        next(remote)


def test_a_shard_that_was_cut_short_is_named(lake, far):
    (tar,) = Path(lake.root).glob("shards/tiny/*.tar")
    tar.write_bytes(tar.read_bytes()[: tar.stat().st_size // 50])
    with far() as remote, pytest.raises(SchemaError, match=rf"shards/tiny/{tar.stem}.tar is cut short"):
        draw(remote, 70)


def test_a_picture_that_was_changed_on_its_way_is_told_with_shard_and_sample(far, monkeypatch):
    fetch = ranges.Ranges._fetch

    def changed(self: ranges.Ranges, file: str, start: int, stop: int) -> bytes:
        found = bytearray(fetch(self, file, start, stop))
        if file.endswith(".tar"):
            found[::900] = bytes(len(found[::900]))  # a picture has 1,800
        return bytes(found)

    monkeypatch.setattr(ranges.Ranges, "_fetch", changed)
    with far() as remote, pytest.raises(SchemaError, match=rf"sample {SAMPLE} in shards/tiny/\w+.tar .*checksum 0x"):
        draw(remote, 3)


@pytest.mark.parametrize("suffix", ["tar", "parquet"])
def test_a_shard_that_is_gone_is_named(lake, far, suffix):
    (file,) = Path(lake.root).glob(f"shards/tiny/*.{suffix}")
    file.unlink()
    with far() as remote, pytest.raises(SchemaError, match=rf"shards/tiny/{file.name} is missing"):
        next(remote)


def test_a_shard_that_goes_while_it_is_read_is_named(lake, far):
    (tar,) = Path(lake.root).glob("shards/tiny/*.tar")
    with far(cache_bytes=1) as remote:
        draw(remote, 3)
        tar.unlink()
        with pytest.raises(SchemaError, match=rf"shards/tiny/{tar.name} is missing"):
            draw(remote, 70)


def test_s3_gives_the_batches_of_a_folder(lock, lake, s3_lake_uri):
    remote = Lake(s3_lake_uri)
    remote.fs.put(f"{lake.root}/", remote.root, recursive=True)
    with Loader(lock, batch_size=6) as near, Loader(lock, batch_size=6, lake=remote.uri, cache_bytes=10**5) as distant:
        assert_same_batches(distant, near, count=20)


def test_a_picture_whose_frame_stands_twice_is_held_until_both_have_come(lake, monkeypatch):
    text = RECIPE + "frame_weight: [{where: 'TRUE', weight: 2}]\n"
    lock = make_lock(parse_recipe(text), lake)
    with monkeypatch.context() as patch:
        patch.setattr(Lake, "is_local", property(lambda _: False))
        remote = Loader(lock, batch_size=6)
    with remote, Loader(lock, batch_size=6) as near:
        assert_same_batches(remote, near, count=150)
        assert not remote.shards._segments._held  # nothing had to be fetched by whole segments


@pytest.mark.parametrize(
    ("left", "pieces"), [(-5, 12), (0, 12), (64, 12), (320, 3), (500, 1), (575, 1), (576, 0), (9000, 0)]
)
def test_the_sooner_a_piece_is_needed_the_more_are_asked_for_at_once(left, pieces):
    assert ahead.at_once(left, least=64, horizon=576) == pieces


def test_where_the_horizon_is_what_is_needed_at_least_all_are_asked_for_before_it():
    assert [ahead.at_once(left, least=64, horizon=64) for left in (0, 63, 64)] == [12, 12, 0]
