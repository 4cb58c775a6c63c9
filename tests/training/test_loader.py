"""The loader gives exactly the samples that the lock and the order name, however it is started, split or threaded."""

import os
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.lock import Lock
from curation.make_lock import make_lock
from curation.recipe import parse_recipe
from schema.errors import ConfigError, SchemaError
from schema.lake import Lake
from schema.picture import decode_jpeg, resize
from schema.verify import verify
from tests.lakes import in_format_1, make_episode, make_lake, store
from training.batch import Batch
from training.loader import Loader

RECIPE = """
name: tiny
sources: [{{source: tiny}}]
chunk: {{steps: {steps}}}
image_size: {image_size}
action_form: {form}
prompt: {{tag: true}}
"""


def lock_of(lake: Lake, *, steps: int = 5, image_size: int = 32, form: str = "stored") -> Lock:
    return make_lock(parse_recipe(RECIPE.format(steps=steps, image_size=image_size, form=form)), lake)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Two robots × two tasks, three episodes each, all in one shard."""
    return make_lake(tmp_path_factory.mktemp("lake"))


@pytest.fixture(scope="module")
def lock(lake: Lake) -> Lock:
    return lock_of(lake)


def drawn(lock: Lock, batches: int, **words: int) -> list[Batch]:
    """The first batches of a loader, copied since it reuses them."""
    with Loader(lock, **{"batch_size": 6, **words}) as loader:
        return [copy_of(next(loader)) for _ in range(batches)]


def copy_of(batch: Batch) -> Batch:
    fields = {name: getattr(batch, name) for name in Batch.__slots__}
    return Batch(**{name: value.copy() for name, value in fields.items()})


def assert_same(one: Batch, other: Batch) -> None:
    for name in Batch.__slots__:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def test_every_row_holds_what_the_lake_holds_of_its_sample(lake, lock):
    batch = drawn(lock, 1)[0]
    episodes = {
        episode.episode_id: episode
        for number in range(3)
        for robot in ("ur5e", "bimanual_trossen")
        for task in ("put block on plate", "push block")
        for episode in [make_episode(number, embodiment=robot, task=task)]
    }
    for row, sample in enumerate(batch.sample_ids):
        episode_id, frame = sample.split("-")[0], int(sample.split("-")[1])
        episode = episodes[episode_id]
        component = lock.components[batch.components[row]]
        space = episode.embodiment.action_space()
        state = np.concatenate([episode.signals[name][frame] for name in space.state])
        action = np.concatenate([episode.signals[name] for name in space.action], axis=1)
        state_slots, action_slots = lock.slots(component)
        valid = min(5, episode.num_frames - frame)

        assert (component.embodiment, component.task) == (episode.embodiment.name, episode.task)
        np.testing.assert_array_equal(state_slots.unpad(batch.state[row]), state)
        np.testing.assert_array_equal(action_slots.unpad(batch.actions[row, :valid]), action[frame : frame + valid])
        np.testing.assert_array_equal(batch.state_mask[row], state_slots.mask)
        np.testing.assert_array_equal(batch.action_mask[row], action_slots.mask)
        assert batch.step_mask[row].tolist() == [step < valid for step in range(5)]
        assert batch.prompts[row].endswith(episode.instructions[0].text)
        assert batch.prompts[row].startswith(component.prompt_prefix)
        for slot, camera in enumerate(("base", "left_wrist", "right_wrist")):
            assert batch.image_mask[row, slot] == (camera in episode.cameras)
            if camera in episode.cameras:
                np.testing.assert_array_equal(batch.images[row, slot], decode_jpeg(episode.cameras[camera][frame].jpeg))
            else:
                assert not batch.images[row, slot].any()


def test_padded_slots_are_zero(lock):
    batch = drawn(lock, 1)[0]

    assert not batch.state[~batch.state_mask].any()
    assert not batch.actions.swapaxes(1, 2)[~batch.action_mask].any()


def test_past_the_end_absolute_actions_repeat_their_last_value(lock):
    batches = drawn(lock, 20)
    found = 0
    for batch in batches:
        for row in np.flatnonzero(~batch.step_mask.all(axis=1)):
            last = int(batch.step_mask[row].sum()) - 1
            np.testing.assert_array_equal(
                batch.actions[row, last + 1 :],
                np.broadcast_to(batch.actions[row, last], batch.actions[row, last + 1 :].shape),
            )
            found += 1
    assert found


def test_the_delta_form_tells_joints_from_the_state_and_leaves_grippers(lake):
    stored, delta = drawn(lock_of(lake), 1)[0], drawn(lock_of(lake, form="delta"), 1)[0]
    assert stored.sample_ids == delta.sample_ids
    lock = lock_of(lake)
    for row in range(len(stored)):
        _, action = lock.dimensions(lock.components[stored.components[row]])
        _, slots = lock.slots(lock.components[stored.components[row]])
        for dimension, place in zip(action, slots.places, strict=True):
            origin = 0 if dimension.is_gripper else stored.state[row, place]
            np.testing.assert_allclose(delta.actions[row, :, place], stored.actions[row, :, place] - origin, atol=1e-6)


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_threads_do_not_change_what_is_read(lock, threads):
    for one, other in zip(drawn(lock, 5, threads=2), drawn(lock, 5, threads=threads), strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("stop", range(7))
def test_a_loader_stopped_anywhere_goes_on_with_the_very_next_batch(lock, stop):
    whole = drawn(lock, 8)
    with Loader(lock, batch_size=6) as loader:
        for _ in range(stop):
            next(loader)
        position = loader.position

    assert position == stop * 6
    for one, other in zip(whole[stop:], drawn(lock, 8 - stop, position=position), strict=True):
        assert_same(one, other)


def test_seeking_to_any_position_gives_what_a_loader_begun_there_gives(lock):
    count = int(os.environ.get("ROBOMIX_RESUMES", "12"))
    positions = np.random.default_rng(5).integers(2**34, size=count) * 6
    with Loader(lock, batch_size=6) as seeking:
        for position in positions.tolist():
            seeking.seek(position)
            assert_same(copy_of(next(seeking)), drawn(lock, 1, position=position, threads=0)[0])
            assert seeking.state() == position + 6


def test_memory_stays_as_it_is(lock):
    """A short soak; `benchmarks/loader.py --soak 30` is the long one."""
    with Loader(lock, batch_size=6) as loader:
        for _ in range(300):
            next(loader)
        tracemalloc.start()
        for _ in range(20):
            next(loader)
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(300):
            next(loader)
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert after - before < 1_000_000  # a call of the order plans 4,096 samples


def test_a_batch_that_failed_is_not_left_out_by_asking_again(tmp_path):
    lake = make_lake(tmp_path, num_episodes=1)
    lock = lock_of(lake)
    (tar,) = Path(lake.root).glob("shards/tiny/*.tar")
    whole = tar.read_bytes()
    tar.unlink()
    for threads in (0, 2):
        with Loader(lock, batch_size=6, threads=threads) as loader:
            for _ in range(2):
                with pytest.raises(SchemaError, match="is missing from"):
                    next(loader)
            assert loader.state() == 0
            tar.write_bytes(whole)
            loader.seek(0)
            assert next(loader).positions.tolist() == list(range(6))
        tar.unlink()


@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
def test_any_number_of_ranks_reads_the_one_global_sequence(lock, world_size):
    batch_size, steps = 24 // world_size, 4
    single = [sample for batch in drawn(lock, steps, batch_size=24) for sample in batch.sample_ids]
    ranks = [drawn(lock, steps, batch_size=batch_size, rank=rank, world_size=world_size) for rank in range(world_size)]
    together: dict[int, str] = {}
    for rank in ranks:
        for batch in rank:
            together |= dict(zip(batch.positions.tolist(), batch.sample_ids, strict=True))

    assert [together[position] for position in range(24 * steps)] == single


def test_a_sequence_as_long_as_an_epoch_shows_every_frame_of_a_component_once(lake):
    text = (
        "name: one\nsources: [{source: tiny, where: \"embodiment = 'ur5e' AND task = 'push block'\"}]\nimage_size: 32\n"
    )
    lock = make_lock(parse_recipe(text), lake)
    frames = lock.components[0].frames
    ids = [sample for batch in drawn(lock, 2, batch_size=frames) for sample in batch.sample_ids]

    assert len(set(ids[:frames])) == frames
    assert set(ids[frames:]) == set(ids[:frames])
    assert ids[frames:] != ids[:frames]


def test_pictures_of_another_size_are_scaled_and_centred_on_black(tmp_path):
    lake = Lake.open_or_create(str(tmp_path / "lake"))
    episode = make_episode(0, image_size=48)
    store(lake, tmp_path, [episode])
    batch = drawn(lock_of(lake, image_size=64), 1)[0]
    frame = int(batch.sample_ids[0].split("-")[1])
    pixels = decode_jpeg(episode.cameras["base"][frame].jpeg)

    np.testing.assert_array_equal(batch.images[0, 0], resize(pixels, 64, 64))


def test_a_ring_batch_that_held_a_picture_is_black_again_where_the_camera_is_absent(lock):
    for batch in drawn(lock, 12):
        assert not batch.images[~batch.image_mask].any()


def test_a_lake_that_has_moved_is_found_where_it_is_said_to_be(tmp_path):
    lake = make_lake(tmp_path / "here", num_episodes=1)
    lock = lock_of(lake)
    before = drawn(lock, 1)[0]
    moved = tmp_path / "there"
    Path(lake.root).rename(moved)

    with Loader(lock, batch_size=6, lake=str(moved)) as loader:
        assert_same(next(loader), before)


def test_no_file_of_a_shard_stays_open(lock):
    with Loader(lock, batch_size=6) as loader:
        next(loader)
        links = [Path(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]  # noqa: PTH208
        assert not [link for link in links if link.is_symlink() and "shards/tiny" in str(link.readlink())]


def damage_tar(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for start in range(2048, len(data), 400):
        data[start : start + 200] = bytes(200)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("harm", "expected"),
    [(Path.unlink, "is missing from"), (damage_tar, "is broken"), (lambda path: path.write_bytes(b""), "is empty")],
    ids=["gone", "damaged", "empty"],
)
def test_a_shard_that_is_gone_or_damaged_is_named(tmp_path, harm: Callable[[Path], object], expected):
    lake = make_lake(tmp_path, num_episodes=1)
    lock = lock_of(lake)
    (tar,) = Path(lake.root).glob("shards/tiny/*.tar")
    harm(tar)

    with pytest.raises(SchemaError, match=expected) as caught:
        drawn(lock, 3)

    assert tar.stem in str(caught.value)


SAMPLE = r"[0-9a-f]{32}-\d{6}"


def test_broken_pictures_and_numbers_are_told_with_shard_and_sample(tmp_path):
    lake = make_lake(tmp_path, num_episodes=1)
    lock = lock_of(lake)
    (tar,), (parquet,) = (Path(lake.root).glob(f"shards/tiny/*.{suffix}") for suffix in ("tar", "parquet"))
    damage_tar(tar)
    with pytest.raises(SchemaError, match=rf"sample {SAMPLE}\.\w+ in shards/tiny/{tar.name} is broken"):
        drawn(lock, 3)

    data = bytearray(parquet.read_bytes())
    data[200 : len(data) // 2] = bytes(len(data) // 2 - 200)
    parquet.write_bytes(data)
    with pytest.raises(SchemaError, match=rf"sample {SAMPLE} in shards/tiny/{parquet.name} are broken"):
        drawn(lock, 3)


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def a_picture(lake: Lake) -> tuple[Path, str, int, int]:
    """The tar of a lake's only shard, and the name, offset and length of one of its pictures."""
    (tar,) = Path(lake.root).glob("shards/tiny/*.tar")
    with tarfile.open(tar) as members:
        found = next(one for one in members if one.name.endswith("-000003.base.jpg"))
    return tar, found.name, found.offset_data, found.size


@pytest.fixture(scope="module")
def of_four_frames(tmp_path_factory):
    lake = make_lake(tmp_path_factory.mktemp("flipped"), num_episodes=1, num_frames=4)
    return lake, lock_of(lake)


@given(bit=st.integers(0, 10_000), seed=st.integers(0, 3))
@settings(max_examples=15, deadline=None)
def test_any_flipped_bit_of_a_picture_is_told_with_shard_sample_and_place(of_four_frames, bit, seed):
    lake, lock = of_four_frames
    tar, name, offset, length = a_picture(lake)
    flip(tar, offset + bit % length)
    try:
        with pytest.raises(SchemaError) as caught:
            drawn(lock, 40, threads=seed)
    finally:
        flip(tar, offset + bit % length)

    assert f"the picture of sample {name.removesuffix('.jpg')} in shards/tiny/{tar.name} is broken" in str(caught.value)
    assert f"its {length} bytes at {offset} have checksum 0x" in str(caught.value)
    assert "run `robomix lake verify`, and copy the shard again" in str(caught.value)


def test_shards_that_were_written_without_checksums_give_the_same_batches(tmp_path):
    now, before = make_lake(tmp_path / "now"), make_lake(tmp_path / "before", made=in_format_1)
    assert verify(before).problems == ()
    for one, other in zip(drawn(lock_of(now), 4), drawn(lock_of(before), 4), strict=True):
        assert_same(one, other)


def test_a_flipped_bit_of_the_numbers_is_told_with_the_file(tmp_path):
    lake = make_lake(tmp_path, num_episodes=1)
    lock = lock_of(lake)
    (parquet,) = Path(lake.root).glob("shards/tiny/*.parquet")
    whole = parquet.read_bytes()
    column = pq.ParquetFile(parquet).metadata.row_group(0).column(3)  # the first signal's
    page = range(column.data_page_offset, column.data_page_offset + column.total_compressed_size)
    for place in page[-40::10]:  # after the page's header
        flip(parquet, place)
        with pytest.raises(SchemaError, match=rf"in shards/tiny/{parquet.name} are broken .*CRC"):
            drawn(lock, 4)
        with pytest.raises(SchemaError, match=rf"shards/tiny/{parquet.name} cannot be read .*CRC"):
            lock_of(lake)
        parquet.write_bytes(whole)


def test_every_wrong_word_is_told_at_once(lock):
    with pytest.raises(ConfigError) as caught:
        Loader(lock, batch_size=4, rank=2, world_size=2, position=3, threads=-1)

    message = str(caught.value)
    assert "rank 2 of world_size 2" in message
    assert "multiple of batch_size × world_size = 8" in message
    assert "threads is -1" in message
