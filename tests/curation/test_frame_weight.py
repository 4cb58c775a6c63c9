"""A frame stands in its component's numbering as often as its weight says, and every law of the order holds of that."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation.difference import Outline, difference
from curation.frame_weight import FrameWeights
from curation.make_lock import make_lock
from curation.plan import plan
from curation.recipe import parse_recipe
from curation.replay import samples_at, sightings
from curation.select import select
from schema.commit import Bundle, commit
from schema.errors import ConfigError
from schema.lake import Lake
from tests.lakes import make_episode, store
from training.loader import Loader

FRAMES = 40
MAIN = 1
"""The component that is weighed."""
ALL = "name: x\nsources: [{source: tiny}]\nprompt: {tag: true}\nchunk: {steps: 4}\nimage_size: 32\n"
SEGMENTS = ((0, 10, "reach"), (10, 17, "Correct the grasp"), (17, None, "lift"))


@pytest.fixture(scope="module")
def episodes():
    return [make_episode(number, num_frames=FRAMES) for number in range(4)] + [make_episode(9, task="push block")]


@pytest.fixture(scope="module")
def lake(tmp_path_factory, episodes):
    """Four episodes of one component, of which the first two have segments, and one of another."""
    folder = tmp_path_factory.mktemp("lake")
    lake = Lake.open_or_create(str(folder / "lake"))
    store(lake, folder, episodes)
    rows = [
        {
            "annotation_id": f"{number} {text}",
            "episode_id": episodes[number].episode_id,
            "start": start,
            "stop": stop,
            "text": text,
            "kind": "segment",
            "author": "test",
            "format_version": 1,
        }
        for number in (0, 1)
        for start, stop, text in SEGMENTS
    ]
    commit(lake, [Bundle(bundle_id="segments", episodes=(), annotations=tuple(rows))])
    return lake


FIRST = "state.joint_position.shoulder_pan"


def weighed(*rules, more=""):
    lines = "".join(f"  - {rule}\n" for rule in rules)
    return parse_recipe(f"{ALL}{more}\nframe_weight:\n{lines}")


def numbering(lock):
    """How often each (episode, frame) stands in the component's numbering."""
    runs = [row for row in lock.runs.to_pylist() if row["component"] == MAIN]
    return Counter((row["episode_id"], frame) for row in runs for frame in range(row["start"], row["stop"], lock.every))


def test_a_segments_frames_stand_as_often_as_it_weighs_and_the_first_rule_that_fits_counts(lake, episodes):
    rules = ("{segment: 'correct*', weight: 3}", "{segment: '*', weight: 2}", "{segment: reach, weight: 0}")
    found = numbering(make_lock(weighed(*rules), lake))
    for number, episode in enumerate(episodes[:4]):
        for frame in range(FRAMES):
            expected = 1 if number > 1 else 3 if 10 <= frame < 17 else 2
            assert found[episode.episode_id, frame] == expected


def test_episodes_are_weighed_by_where(lake, episodes):
    chosen = episodes[2].episode_id
    found = numbering(make_lock(weighed(f"{{where: \"episode_id = '{chosen}'\", weight: 4}}"), lake))
    assert {episode: times for (episode, _), times in found.items()} == {
        episode.episode_id: 4 if episode.episode_id == chosen else 1 for episode in episodes[:4]
    }


def test_frames_of_weight_0_are_left_out_and_counted_and_chunks_read_on_through_them(lake):
    recipe = weighed("{segment: 'correct*', weight: 0}")
    lock = make_lock(recipe, lake)
    assert [frame for _, frame in numbering(lock)].count(12) == 2
    assert sum(numbering(lock).values()) == 4 * FRAMES - 2 * 7 == lock.components[MAIN].frames
    (before,) = {row["chunk_stop"] for row in lock.runs.to_pylist() if row["stop"] == 10}
    assert before == FRAMES
    planned = plan(recipe, lake)
    assert planned.left_out.frames == 14
    assert any("leave out 14 of" in warning for warning in planned.warnings)


@pytest.mark.parametrize("every", [1, 3])
def test_an_epoch_shows_each_frame_as_often_as_it_weighs_and_no_more(lake, every):
    recipe = weighed(
        "{segment: 'correct*', weight: 5}", "{segment: lift, weight: 2}", more=f"frames: {{every: {every}}}"
    )
    lock = make_lock(recipe, lake)
    samples = lock.order().samples(np.arange(4096))
    mine = np.flatnonzero(samples.component == MAIN)[: 3 * lock.numbered[MAIN]]
    run_P, offset_P = lock.run_index().locate(samples.component[mine], samples.frame[mine])
    episode = lock.runs["episode_id"].to_pylist()
    start_R = lock.runs["start"].to_numpy()
    shown = [(episode[run], int(start_R[run] + offset)) for run, offset in zip(run_P, offset_P, strict=True)]
    for epoch in range(3):
        assert Counter(shown[epoch * lock.numbered[MAIN] : (epoch + 1) * lock.numbered[MAIN]]) == numbering(lock)


def test_a_frame_and_its_copies_stand_in_segments_of_their_own(lake, episodes):
    lock = make_lock(weighed("{segment: 'correct*', weight: 3}"), lake)
    order, runs = lock.order(), lock.run_index()
    samples = order.samples(np.arange(4096))
    mine = np.flatnonzero(samples.component == MAIN)[: lock.numbered[MAIN]]
    run_P, offset_P = runs.locate(samples.component[mine], samples.frame[mine])
    ids, start_R = lock.runs["episode_id"].to_pylist(), lock.runs["start"].to_numpy()
    wanted = (episodes[0].episode_id, 12)
    found = [ids[run] == wanted[0] and start_R[run] + offset == 12 for run, offset in zip(run_P, offset_P, strict=True)]
    segments = samples.segment[mine][np.array(found)].tolist()
    assert len(segments) == 3
    assert segments.count(12 // 32) == 1


def test_the_spread_of_weighed_episodes_is_that_of_the_order(lake):
    recipe = weighed("{segment: '*', weight: 6}")
    lock, spread = make_lock(recipe, lake), plan(recipe, lake, batch=16).spread
    walked = [one.episode_id for one in samples_at(lock, 0, count=16 * 40)]
    batches = [len(set(walked[first : first + 16])) for first in range(0, len(walked), 16)]
    assert spread.episodes == len(set(walked)) == 5
    assert spread.batch_episodes == pytest.approx(np.mean(batches), abs=0.3)


def test_shares_quotas_and_hours_go_by_frames_however_often_these_stand(lake):
    plain, heavy = (make_lock(recipe, lake) for recipe in (parse_recipe(ALL), weighed("{segment: '*', weight: 9}")))
    for one, other in zip(plain.components, heavy.components, strict=True):
        assert (one.frames, one.hours, one.share, one.quota) == (other.frames, other.hours, other.share, other.quota)
    assert heavy.numbered[MAIN] == 4 * FRAMES + 8 * 2 * FRAMES
    assert plain.numbered == ()
    assert plain.order().num_frames_C.tolist() == [12, 4 * FRAMES]
    assert heavy.order().num_frames_C.tolist() == list(heavy.numbered)


def test_statistics_count_a_frame_as_often_as_it_stands(lake, episodes):
    lock = make_lock(weighed("{segment: 'correct*', weight: 3}"), lake)
    (row,) = (row for row in lock.stats.to_pylist() if (row["role"], row["dimension"]) == ("state", FIRST))
    found = [
        np.repeat(
            episode.signals["state.joint_position"][:, 0].astype(np.float64),
            [3 if number < 2 and 10 <= frame < 17 else 1 for frame in range(episode.num_frames)],
        )
        for number, episode in enumerate(episodes)
    ]
    values = np.concatenate(found)
    assert (row["count"], row["mean"]) == (len(values), pytest.approx(values.mean()))


def test_what_is_held_out_is_the_same_under_any_weights(lake):
    more = "held_out: 0.5"
    plain, heavy = (
        make_lock(recipe, lake)
        for recipe in (
            parse_recipe(f"{ALL}{more}"),
            weighed("{segment: '*', weight: 2}", "{where: 'TRUE', weight: 3}", more=more),
        )
    )
    assert heavy.held_out.equals(plain.held_out)
    assert heavy.held_out.num_rows


def test_a_lock_is_kept_and_loaded_with_its_numbering(lake, tmp_path):
    lock = make_lock(weighed("{segment: lift, weight: 2}"), lake)
    lock.save(tmp_path / "lock")
    loaded = lock.load(tmp_path / "lock")
    assert (loaded.numbered, loaded.digest) == (lock.numbered, lock.digest)


def test_the_loader_and_replay_give_a_frame_at_every_position_that_is_its_own(lake, episodes):
    lock = make_lock(weighed("{segment: lift, weight: 2}"), lake)
    with Loader(lock, batch_size=64) as loader:
        drawn = [sample for _ in range(8) for sample in next(loader).sample_ids]
    replayed = list(samples_at(lock, 0, count=len(drawn)))
    assert [f"{one.episode_id}-{one.frame:06d}" for one in replayed] == drawn
    episode = episodes[0].episode_id
    found = sightings(lock, episode, stop=len(drawn))
    assert [(one.position, one.frame) for one in replayed if one.episode_id == episode] == list(
        zip(found.position_P.tolist(), found.frame_P.tolist(), strict=True)
    )
    assert found.frames == FRAMES


def test_a_plan_tells_each_weight_and_how_many_frames_are_seen(lake):
    recipe = weighed("{segment: lift, weight: 3}", "{segment: reach, weight: 0}")
    planned = plan(recipe, lake, steps=100, batch=8)
    heavy, usual = planned.by_weight
    assert (heavy.weight, heavy.frames, usual.weight, usual.frames) == (3, 2 * 23, 1, 2 * 7 + 2 * FRAMES + 12)
    assert heavy.share + usual.share == pytest.approx(1)
    assert heavy.epochs * heavy.frames + usual.epochs * usual.frames == pytest.approx(800)
    assert planned.frames == planned.distinct_frames == heavy.frames + usual.frames
    (component,) = (one for one in planned.components if one.task == "put block on plate")
    lock = make_lock(recipe, lake)
    seen = {(one.episode_id, one.frame) for one in samples_at(lock, 0, count=200)}
    few = plan(recipe, lake, steps=25, batch=8)
    assert few.distinct_frames == pytest.approx(len(seen), abs=12)
    assert component.frames == 2 * 30 + 2 * FRAMES


def test_a_plan_warns_of_frames_that_their_weight_shows_too_often(lake):
    told = plan(weighed("{segment: lift, weight: 20}"), lake, steps=100, batch=8).warnings
    assert [text for text in told if "the 46 frames of weight 20 are seen" in text]


def test_a_difference_tells_what_is_weighed_otherwise(lake):
    before, after = (Outline.of_recipe(weighed(f"{{segment: lift, weight: {weight}}}"), lake) for weight in (2, 3))
    found = difference(before, after)
    assert "recipe frame_weight[0].weight: 2 → 3" in list(found.sentences())
    assert found.episodes["cut otherwise"] == 2
    lock = Outline.of_lock(make_lock(weighed("{segment: lift, weight: 3}"), lake))
    assert not any(difference(after, lock).episodes.values())


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            "{segment: push*, weight: 2}",
            "line 8, frame_weight[0]: fits no frame of the selected episodes, whose segments "
            "are: 'Correct the grasp', 'lift', 'reach'; mend it, or take it out",
        ),
        (
            "{where: num_frames > 999, weight: 2}",
            "line 8, frame_weight[0]: fits no frame of the selected episodes; mend",
        ),
        (
            "{where: num_frame > 9, weight: 2}",
            "line 8, frame_weight[0].where: found 'num_frame > 9': no column 'num_frame'",
        ),
        (
            "{where: 'TRUE', weight: 0}",
            "line 7, frame_weight: component 'ur5e/push block' has no episode left to train on: raise `frame_weight`",
        ),
        ("{weight: 2}", "line 8, frame_weight[0]: "),
        ("{segment: lift, weight: 1.5}", "line 8, frame_weight[0].weight: found 1.5, expected a valid integer"),
        (
            "{segment: lift, weight: -1}",
            "line 8, frame_weight[0].weight: found -1, expected greater than or equal to 0",
        ),
        ("{segment: lift, wieght: 2}", "line 8, frame_weight[0].wieght: unknown key 'wieght', expected one of weight"),
    ],
)
def test_a_rule_that_is_wrong_is_told_with_its_line(lake, rule, message):
    with pytest.raises(ConfigError) as caught:
        select(weighed(rule), lake)
    assert message in str(caught.value)


RANGES = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 60), st.integers(0, 4)), max_size=6)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.integers(0, 20), length=st.integers(1, 40), every=st.integers(1, 5), ranges=RANGES)
def test_pieces_hold_each_chunk_start_of_a_run_as_often_as_the_first_rule_says(start, length, every, ranges):
    recipe = weighed(
        *(f"{{segment: s{rule}, weight: {weight}}}" for rule, (_, _, weight) in enumerate(ranges)),
        *(["{segment: none, weight: 1}"] * (not ranges)),
        more=f"frames: {{every: {every}}}",
    )
    weights = FrameWeights(recipe=recipe, catalogue=None, episodes={}, problems=())
    painted = [(begin, end, rule) for rule, (begin, end, _) in reversed(list(enumerate(ranges)))]
    found = Counter()
    for first, last, weight in weights._pieces(start, start + length, painted):
        found.update(dict.fromkeys(range(first, last, every), weight))
    expected = {
        frame: next((weight for begin, end, weight in ranges if begin <= frame < end), 1)
        for frame in range(start, start + length, every)
    }
    assert found == Counter({frame: weight for frame, weight in expected.items() if weight})
