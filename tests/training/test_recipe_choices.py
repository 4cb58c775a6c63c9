"""What a recipe leaves to chance is decided by the position alone: cameras, texts, and what training leaves away."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from curation.keyed import keyed_hash
from curation.lock import Lock
from curation.make_lock import make_lock
from curation.recipe import parse_recipe
from schema.commit import Bundle, commit
from schema.errors import ConfigError
from schema.lake import Lake
from tests.lakes import make_episode, store
from tests.training.test_loader import copy_of
from training.batch import Batch
from training.fixed_samples import SampleReader, spread
from training.loader import Loader
from training.normalize import Normalizer

FRAMES = 12


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Two episodes of a robot with two exterior cameras and one on the wrist; the first has two segments."""
    folder = tmp_path_factory.mktemp("lake")
    lake = Lake.open_or_create(str(folder / "lake"))
    episodes = [make_episode(number, embodiment="franka_droid", num_frames=FRAMES) for number in range(2)]
    store(lake, folder, episodes)
    common = {"episode_id": episodes[0].episode_id, "author": "test", "format_version": 1, "supersedes": None}
    segments = [(0, 5, "reach"), (5, None, "lift")]
    rows = tuple(
        common | {"annotation_id": text, "start": start, "stop": stop, "text": text, "kind": "segment"}
        for start, stop, text in segments
    )
    commit(lake, [Bundle(bundle_id="segments", episodes=(), annotations=rows)])
    return lake


@pytest.fixture(scope="module")
def lock_of(lake: Lake) -> Callable[..., Lock]:
    """Makes a lock of this lake, with more lines of the recipe."""

    def make(more: str, *, chunk: str = "chunk: {steps: 4}") -> Lock:
        text = f"name: x\nsources: [{{source: tiny}}]\n{chunk}\nimage_size: 32\n{more}\n"
        return make_lock(parse_recipe(text), lake)

    return make


def first(lock: Lock, *, size: int = 96, **words: int) -> Batch:
    with Loader(lock, batch_size=size, **words) as loader:
        return copy_of(next(loader))


ANY = "cameras: {base: [exterior], left_wrist: [wrist]}\ncamera_choice: {base: any}"


def test_a_role_stands_for_every_camera_of_it_and_the_first_is_shown(lock_of):
    lock = lock_of("cameras: {base: [exterior], left_wrist: [wrist]}")
    assert lock.cameras == {"base": ("base", "exterior_1"), "left_wrist": ("left_wrist",)}
    plain = lock_of("cameras: {base: [base], left_wrist: [left_wrist]}")
    np.testing.assert_array_equal(first(lock).images, first(plain).images)


def test_any_exterior_camera_is_shown_as_the_position_says_and_both_come(lock_of):
    lock = lock_of(ANY)
    batch, alone = first(lock), first(lock, threads=0)
    one, other = (
        first(lock_of(f"cameras: {{base: [{name}], left_wrist: [left_wrist]}}")) for name in ("base", "exterior_1")
    )
    is_one, is_other = ((batch.images[:, 0] == shown.images[:, 0]).all(axis=(1, 2, 3)) for shown in (one, other))
    assert (is_one ^ is_other).all()
    assert 0.3 < is_one.mean() < 0.7
    np.testing.assert_array_equal(batch.images, alone.images)
    np.testing.assert_array_equal(batch.images[48:], first(lock, size=48, position=48).images)


def test_a_slot_is_left_empty_as_often_as_the_recipe_says_but_never_all_of_them(lock_of):
    lock = lock_of("cameras: {base: [base], left_wrist: [left_wrist]}\ncamera_dropout: {base: 0.5, left_wrist: 0.5}")
    batch = first(lock, size=400)
    assert batch.image_mask.any(axis=1).all()
    # A quarter would lose both and keeps both, so that each slot is empty in a quarter.
    assert 1 - batch.image_mask.mean(axis=0) == pytest.approx([0.25, 0.25], abs=0.07)
    assert not batch.images[~batch.image_mask].any()
    np.testing.assert_array_equal(batch.image_mask, first(lock, size=400, threads=0).image_mask)


def test_instructions_are_left_away_but_the_tag_stays(lock_of):
    batch = first(lock_of("prompt: {tag: true, dropout: 0.3}"), size=400)
    tag = "franka_droid, joint_velocity at 15 Hz: "
    assert all(prompt.startswith(tag) for prompt in batch.prompts)
    assert sum(prompt == tag for prompt in batch.prompts) / 400 == pytest.approx(0.3, abs=0.07)


def test_nothing_is_left_away_of_what_is_measured_on(lock_of, lake):
    episodes = lake.scan("episodes").collect()["episode_id"]
    share = sum(keyed_hash(episode, "held_out") for episode in episodes) / len(episodes)  # so that one of two is out
    lock = lock_of(
        f"held_out: {share}\nprompt: {{dropout: 0.9}}\ncameras: {{base: [base], x: [exterior_1]}}\n"
        "camera_dropout: {base: 0.9}"
    )
    assert len(lock.held_out)
    reader = SampleReader(lock, lock.held_out, lake=lake)
    batch = reader.read(spread(lock.held_out, per_run=10))
    assert batch.image_mask.all()
    assert all(batch.prompts)


def test_a_segments_text_is_read_where_its_frames_are_and_chunks_read_on_across_its_end(lock_of):
    lock = lock_of("prompt: {text: [segment]}")
    runs = lock.runs.to_pylist()
    assert sorted((run["start"], run["stop"], run["chunk_stop"], *run["instructions"]) for run in runs) == [
        (0, 5, 12, "reach"),
        (0, 12, 12, "put block on plate number 1"),
        (5, 12, 12, "lift"),
    ]
    batch, plain = first(lock), first(lock_of(""))
    order = [batch.sample_ids.index(name) for name in plain.sample_ids]
    for name in ("actions", "step_mask", "state"):
        np.testing.assert_array_equal(getattr(batch, name)[order], getattr(plain, name), err_msg=name)
    for name, prompt in zip(batch.sample_ids, batch.prompts, strict=True):
        if prompt in {"reach", "lift"}:
            assert (int(name.rpartition("-")[2]) < 5) == (prompt == "reach")


def test_segments_keep_the_frames_that_a_rule_chose(lock_of):
    whole, cut = (lock_of(f"frames: {{every: 3}}\n{more}") for more in ("", "prompt: {text: [segment]}"))
    starts = [
        {
            (run["episode_id"], frame)
            for run in lock.runs.to_pylist()
            for frame in range(run["start"], run["stop"], lock.every)
        }
        for lock in (whole, cut)
    ]
    assert starts[0] == starts[1]
    assert [one.frames for one in whole.components] == [one.frames for one in cut.components] == [8]


def test_several_kinds_of_text_are_drawn_among_each_other(lock_of):
    lock = lock_of("prompt: {text: [task, segment]}\ntasks: {'put *': put}")
    assert set(first(lock).prompts) == {"put", "reach", "lift"}


def test_quantiles_bring_the_middle_98_percent_to_one_and_grippers_stay(lock_of):
    lock = lock_of("normalization: quantile")
    normalizer = Normalizer.of(lock)
    for row in lock.stats.to_pylist():
        mean = getattr(normalizer, f"{row['role']}_mean_CW")[0, row["slot"]]
        std = getattr(normalizer, f"{row['role']}_std_CW")[0, row["slot"]]
        if row["rule"] == "measured":
            assert [(row[q] - mean) / std for q in ("q01", "q99")] == pytest.approx([-1, 1], abs=1e-4)
        else:
            assert (mean, std) == (row["mean"], row["std"])


def test_a_resampled_chunk_is_loaded_with_its_mask(lock_of):
    lock = lock_of("", chunk="chunk: {steps: 4, rate_hz: 5}")
    batch = first(lock)
    frame_B = np.array([int(name.rpartition("-")[2]) for name in batch.sample_ids])
    # 15 Hz to 5 Hz: three frames a step, of which all three have to be there.
    assert frame_B.max() == FRAMES - 3
    np.testing.assert_array_equal(batch.step_mask.sum(axis=1), np.minimum(4, (FRAMES - frame_B) // 3))
    plain = first(lock_of("", chunk="chunk: {steps: 12}"))
    whole = dict(zip(plain.sample_ids, plain.actions, strict=True))
    row = int(np.flatnonzero(frame_B == 0)[0])
    native_HA = whole[batch.sample_ids[row]].astype(np.float64)
    means_HA = native_HA[:, :7].reshape(4, 3, 7).mean(axis=1)
    np.testing.assert_allclose(batch.actions[row, :, :7], means_HA, atol=1e-6)
    np.testing.assert_allclose(batch.actions[row, :, 7], native_HA[::3, 7], atol=1e-6)


def test_a_choice_for_a_slot_that_is_not_there_is_refused(lock_of):
    with pytest.raises(ConfigError, match=r"camera_choice\.bse: no slot 'bse' in `cameras`, expected one of base"):
        lock_of("cameras: {base: [exterior]}\ncamera_choice: {bse: any}")


def test_these_choices_are_kept_by_the_lock(lock_of, tmp_path: Path):
    lock = lock_of(ANY + "\ncamera_dropout: {base: 0.1}\nprompt: {dropout: 0.2}\nnormalization: quantile")
    lock.save(tmp_path / "lock")
    found = Lock.load(tmp_path / "lock")
    assert (found.any_cameras, found.camera_dropout, found.prompt_dropout) == (("base",), (0.1, 0.0), 0.2)
    assert found.normalization == "quantile"
    assert found.digest == lock.digest
