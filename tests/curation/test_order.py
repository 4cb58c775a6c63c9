"""The order visits every frame once per epoch, holds the shares, and is the same however it is walked."""

import hashlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import feistel
from curation.mixture import BLOCK, quotas
from curation.order import Order, Runs, _visit, rank_positions, window_segments
from schema.errors import ConfigError

FIELDS = ("position", "component", "epoch", "lane", "segment", "frame")
WHOLE = np.arange(2 * BLOCK + 5000)


def make_order(frames, shares, *, total=64, seed=0, lanes=1):
    quota_C = quotas(shares, [""] * len(shares))
    window_C = window_segments(quota_C, total)
    return Order(num_frames_C=np.array(frames), quota_C=quota_C, window_C=window_C, seed=seed, lanes=lanes)


def rows(samples):
    return np.stack([getattr(samples, name) for name in FIELDS])


MIXTURES = {
    "one component": ([1000], [1]),
    "one frame": ([1, 5000], [1, 9]),
    "three": ([33, 4096, 100_000], [1, 5, 94]),
    "sixty": ([int(10 ** (c / 12)) for c in range(60)], [1.2**c for c in range(60)]),
}


@pytest.fixture(scope="module", params=MIXTURES)
def mixture(request):
    return MIXTURES[request.param]


@pytest.mark.parametrize("lanes", [1, 64])
def test_every_frame_comes_once_per_epoch_and_none_returns_before_its_epoch_is_over(mixture, lanes):
    frames, shares = mixture
    order = make_order(frames, shares, lanes=lanes)
    samples = order.samples(WHOLE)

    plan = order.schedule
    lanes_C = np.bincount(plan.component_K)
    lane_P = (np.cumsum(lanes_C) - lanes_C)[samples.component] + samples.lane
    in_lane_P = samples.frame - plan.first_frame_K[lane_P]
    assert (in_lane_P >= 0).all()
    assert (in_lane_P < plan.num_frames_K[lane_P]).all()
    assert np.array_equal(samples.segment, in_lane_P // 32)
    # Epoch e of a lane of N frames is its draws eN … (e + 1)N - 1: with no frame twice, each comes once.
    draws_K = np.bincount(lane_P, minlength=plan.quota_K.size)
    draw = np.arange(WHOLE.size) - np.repeat(np.cumsum(draws_K) - draws_K, draws_K)
    by_lane = np.argsort(lane_P, kind="stable")
    assert np.array_equal(samples.epoch[by_lane], draw // plan.num_frames_K[lane_P[by_lane]])
    visit = (samples.epoch * len(frames) + samples.component) * max(frames) + samples.frame
    assert np.diff(np.sort(visit)).min() > 0


def most_open(segments):
    """The most segments that have begun and not ended at any one time."""
    _, first = np.unique(segments, return_index=True)
    _, last = np.unique(segments[::-1], return_index=True)
    change = np.zeros(segments.size + 1, np.int64)
    np.add.at(change, first, 1)
    np.add.at(change, segments.size - last, -1)
    return np.cumsum(change).max()


@settings(deadline=None, max_examples=300)
@given(st.integers(1, 3000), st.integers(1, 120), st.integers(0, 2**64 - 1))
def test_an_epoch_is_a_bijection_that_opens_no_more_segments_than_a_window_has(num_frames, window, key):
    window = min(window, -(-num_frames // 32))
    like = np.ones(num_frames, np.int64)
    key_P = np.full(num_frames, key, np.uint64)
    segment, offset = _visit(np.arange(num_frames), like * num_frames, window_P=like * window, key_P=key_P)

    assert np.array_equal(np.sort(segment * 32 + offset), np.arange(num_frames))
    assert most_open(segment) <= window


@pytest.mark.parametrize("lanes", [1, 4])
def test_the_working_set_of_a_lane_never_exceeds_its_budget(lanes):
    order = make_order([50_003, 7777, 12], [9, 1, 0.1], total=40, lanes=lanes)
    samples = order.samples(np.arange(200_000))
    visit = ((samples.component * 2**20 + samples.epoch) * lanes + samples.lane) * 2**20 + samples.segment

    windows = [int(order.window_C[c]) for c in range(3)]
    assert [most_open(visit[samples.component == c]) <= lanes * windows[c] for c in range(3)] == [True] * 3
    assert most_open(visit) <= lanes * sum(windows)
    assert abs(sum(windows) - 40) <= 2


def test_the_short_segment_is_as_likely_in_every_window():
    keys = np.arange(20_000, dtype=np.uint64)
    like = np.ones(keys.size, np.int64)
    key_P = feistel.key(3, keys)
    # 3 full segments and one of 1 frame, one segment a window: the short one leaves at draw 0, 32, 64 or 96.
    at = [_visit(like * draw, like * 97, window_P=like, key_P=key_P)[0] == 3 for draw in (0, 32, 64, 96)]
    assert np.mean(at, axis=1) == pytest.approx([0.25] * 4, abs=0.015)


@settings(deadline=None, max_examples=4)
@given(st.integers(1, 60), st.sampled_from([0.0, 3.0, 9.0]), st.integers(0, 2**32))
def test_shares_are_kept_at_every_1024_positions_and_exact_at_block_ends(count, skew, seed):
    rng = np.random.default_rng(seed)
    shares = np.exp(skew * rng.random(count))
    order = make_order(rng.integers(1, 10**6, count), shares, seed=seed)
    component = order.samples(WHOLE).component

    for c in range(count):
        had = np.cumsum(component == c)[1023::1024]
        exact = np.arange(1, had.size + 1) * 1024 * order.quota_C[c] / BLOCK
        assert np.abs(had - exact).max() < 1.5
        assert had[1023] == order.quota_C[c]
        assert had[2047] == 2 * order.quota_C[c]


@pytest.mark.parametrize("lanes", [1, 64])
@settings(deadline=None, max_examples=25)
@given(cuts=st.lists(st.integers(0, 9000), max_size=8), start=st.integers(0, 2**45))
def test_a_walk_in_any_pieces_and_a_seek_give_the_same_samples(lanes, cuts, start):
    order = ORDERS[lanes]
    whole = rows(order.samples(np.arange(start, start + 9000)))
    edges = [0, *sorted(cuts), 9000]

    pieces = [rows(order.samples(np.arange(start + a, start + b))) for a, b in pairwise(edges)]
    backwards = rows(order.samples(np.arange(start, start + 9000)[::-1]))

    assert np.array_equal(np.concatenate(pieces, axis=1), whole)
    assert np.array_equal(backwards[:, ::-1], whole)


ORDERS = {lanes: make_order(*MIXTURES["three"], lanes=lanes) for lanes in (1, 64)}


@pytest.mark.parametrize("lanes", [1, 64])
@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
@pytest.mark.parametrize(("start", "stop"), [(0, 4800), (17, 5000), (BLOCK - 7, BLOCK + 50), (5, 5)])
def test_ranks_interleave_to_the_single_sequence(lanes, world_size, start, stop):
    order = ORDERS[lanes]
    single = rows(order.samples(np.arange(start, stop)))

    parts = [
        rows(order.samples(rank_positions(start, stop, rank=rank, world_size=world_size))) for rank in range(world_size)
    ]

    together = np.concatenate(parts, axis=1)
    assert np.array_equal(together[:, np.argsort(together[0])], single)
    sizes = [part.shape[1] for part in parts]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("world_size", [2, 8])
def test_ranks_that_divide_the_lanes_share_no_segment(world_size):
    order = make_order([10**6], [1], lanes=64)
    parts = [order.samples(rank_positions(0, 100_000, rank=rank, world_size=world_size)) for rank in range(world_size)]
    segments = [set(zip(part.lane.tolist(), part.segment.tolist(), strict=True)) for part in parts]
    assert sum(len(part) for part in segments) == len(set.union(*segments))


def test_another_seed_gives_another_order_and_the_same_seed_the_same():
    at = np.arange(20_000)
    one, again, other = (rows(make_order(*MIXTURES["three"], seed=seed).samples(at)) for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert (one[5] != other[5]).mean() > 0.9


@pytest.mark.parametrize(("lanes", "digest"), [(1, "8538a3a4b888f0b2"), (64, "b583156d54756bd0")])
def test_the_order_is_pinned(lanes, digest):
    # Locks promise their order for good. If this fails, training can no longer be resumed or reproduced:
    # undo the change, or raise the lock's format_version and keep the old order readable.
    order = make_order(*MIXTURES["sixty"], seed=7, lanes=lanes)
    at = np.concatenate([np.arange(50_000), np.arange(10**12, 10**12 + 50_000)])
    assert hashlib.sha256(rows(order.samples(at)).astype("<i8").tobytes()).hexdigest()[:16] == digest


@pytest.mark.parametrize("lanes", [1, 64])
def test_a_batch_sees_as_many_segments_as_a_true_shuffle_when_the_windows_hold_everything(lanes):
    frames = 32 * 4000
    order = make_order([frames], [1], total=4000, lanes=lanes)
    samples = order.samples(np.arange(frames // 2048 * 2048))
    segment = (samples.frame // 32).reshape(-1, 2048)

    distinct = np.mean([np.unique(batch).size for batch in segment])

    shuffled = np.random.default_rng(0).permutation(frames)[: segment.size].reshape(-1, 2048) // 32
    true = np.mean([np.unique(batch).size for batch in shuffled])
    assert distinct == pytest.approx(true, rel=0.01)


@pytest.mark.parametrize("total", [1, 100, 16_384])
def test_windows_share_the_budget_by_quota_and_have_a_segment_at_least(total):
    quota_C = quotas([1, 3, 60, 1000], ["a", "b", "c", "d"])
    window_C = window_segments(quota_C, total)
    assert np.abs(window_C - np.maximum(1, total * quota_C / BLOCK)).max() <= 0.5
    assert abs(window_C.sum() - total) <= quota_C.size


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quota_C": [1, 2]}, "sum to 1,048,576, not 3"),
        ({"num_frames_C": [0, 5]}, "1 to 2"),
        ({"window_C": [1, 0]}, "segment"),
        ({"lanes": 3}, "lanes is 3"),
        ({"num_frames_C": [5]}, "same length"),
    ],
)
def test_numbers_that_give_no_order_are_refused(changes, message):
    good = {"num_frames_C": [5, 5], "quota_C": [BLOCK - 1, 1], "window_C": [1, 1], "lanes": 1}
    arrays = {name: np.array(value) if name != "lanes" else value for name, value in (good | changes).items()}
    with pytest.raises(ConfigError, match=message):
        Order(**arrays, seed=0)


def test_a_negative_position_is_refused():
    with pytest.raises(ValueError, match="found -1"):
        ORDERS[1].samples(np.array([3, -1]))


def test_no_positions_give_no_samples():
    assert rows(ORDERS[1].samples(np.zeros(0, np.int64))).shape == (6, 0)


@st.composite
def any_runs(draw):
    """Runs of up to seven components; some components have none, some runs are huge."""
    lengths = draw(st.lists(st.one_of(st.integers(1, 5), st.integers(1, 10**9)), min_size=1, max_size=80))
    component_R = np.sort(draw(st.lists(st.integers(0, 6), min_size=len(lengths), max_size=len(lengths))))
    return np.array(lengths), component_R


@settings(deadline=None, max_examples=150)
@given(any_runs(), st.integers(0, 2**32))
def test_locate_agrees_with_a_plain_walk_over_the_runs(table, seed):
    num_frames_R, component_R = table
    runs = Runs(num_frames_R=num_frames_R, component_R=component_R)
    rng = np.random.default_rng(seed)
    component_P = rng.choice(component_R, 40)
    num_frames_C = np.bincount(component_R, num_frames_R).astype(np.int64)
    frame_P = (rng.choice([0, 0.3, 0.7, 1 - 1e-15], 40) * num_frames_C[component_P]).astype(np.int64)

    run_P, offset_P = runs.locate(component_P, frame_P)

    expected = []
    for component, frame in zip(component_P, frame_P, strict=True):
        left = int(frame)
        for run in np.flatnonzero(component_R == component):
            if left < num_frames_R[run]:
                expected.append((run, left))
                break
            left -= num_frames_R[run]
    assert list(zip(run_P.tolist(), offset_P.tolist(), strict=True)) == expected


def test_locate_finds_every_frame_of_many_runs():
    rng = np.random.default_rng(0)
    num_frames_R, component_R = rng.integers(1, 40, 5000), np.sort(rng.integers(0, 9, 5000))
    runs = Runs(num_frames_R=num_frames_R, component_R=component_R)
    run, offset = np.repeat(np.arange(5000), num_frames_R), np.concatenate([np.arange(n) for n in num_frames_R])
    frame = np.arange(run.size) - runs.frame_start_R[runs.component_run_start_C[component_R[run]]]

    found_run, found_offset = runs.locate(component_R[run], frame)

    assert np.array_equal(found_run, run)
    assert np.array_equal(found_offset, offset)


@pytest.mark.parametrize(("num_frames", "component"), [([], []), ([3, 0], [0, 0]), ([3, 3], [1, 0]), ([3], [-1])])
def test_a_damaged_table_of_runs_is_refused(num_frames, component):
    with pytest.raises(ConfigError, match="make the lock again"):
        Runs(num_frames_R=np.array(num_frames), component_R=np.array(component))


@pytest.mark.parametrize(
    ("lengths", "total"),
    [([300] * 3000, 16_384), ([50] * 20_000 + [3000] * 300, 16_384), ([20] * 60_000, 16_384)],
    ids=["alike", "short and long", "shorter than a segment"],
)
def test_a_batch_of_2048_sees_nine_tenths_of_the_episodes_that_a_true_shuffle_shows(lengths, total):
    """Windows of 2 GiB hold about 16,384 segments of 224×224 pictures of three cameras."""
    runs = Runs(num_frames_R=np.array(lengths), component_R=np.zeros(len(lengths), np.int64))
    frames = int(sum(lengths))
    samples = make_order([frames], [1], total=total).samples(np.arange(100 * 2048) + 3 * 2048)
    episode, _ = runs.locate(samples.component, samples.frame)

    distinct = np.mean([np.unique(batch).size for batch in episode.reshape(-1, 2048)])

    drawn = np.random.default_rng(0).integers(0, frames, 100 * 2048)
    shuffled, _ = runs.locate(np.zeros_like(drawn), drawn)
    true = np.mean([np.unique(batch).size for batch in shuffled.reshape(-1, 2048)])
    assert distinct >= 0.9 * true
