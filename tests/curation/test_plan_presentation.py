"""What a plan says is shown to the model follows from the rules of chunks, frames and cameras."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.make_lock import make_lock
from curation.plan import plan
from curation.plan_presentation import _recorded
from curation.recipe import parse_recipe
from curation.resample import ratio, recorded_steps
from schema.lake import Lake
from tests.lakes import make_episode, store

ALL = "name: x\nsources: [{source: tiny}]\nprompt: {tag: true}\n"
RUNS = st.lists(st.tuples(st.integers(1, 90), st.integers(1, 90)), min_size=1, max_size=6)


@settings(deadline=None, max_examples=200)
@given(
    runs=RUNS,
    steps=st.integers(1, 60),
    every=st.integers(1, 7),
    q=st.sampled_from([1, Fraction(1, 3), Fraction(5, 2), Fraction(7, 10), 4]),
)
def test_recorded_steps_are_summed_as_if_chunk_by_chunk(runs, steps, every, q):
    q = Fraction(q)
    length_R = np.array([length for length, _ in runs])
    starts_R = np.array([min(starts, (length - 1) // every + 1) for length, starts in runs])

    found = _recorded(length_R, starts_R, q=q, steps=steps, every=every)

    assert found.tolist() == [
        sum(min(steps, recorded_steps(length - number * every, q)) for number in range(starts))
        for length, starts in zip(length_R.tolist(), starts_R.tolist(), strict=True)
    ]


@pytest.mark.parametrize(
    "rules",
    [
        "chunk: {steps: 8}",
        "chunk: {steps: 8}\nframes: {every: 3, min_steps: 2, skip_start_s: 0.1, skip_end_s: 0.06}",
        "chunk: {seconds: 0.5, rate_hz: 10}\nframes: {every: 2}",
        "chunk: {steps: 30, rate_hz: 60}\nheld_out: 0.3",
    ],
)
def test_valid_steps_are_those_of_the_locks_runs(lake, rules):
    recipe = parse_recipe(ALL + rules)
    planned, lock = plan(recipe, lake), make_lock(recipe, lake)
    recorded = {component.name: [] for component in lock.components}
    for run in lock.runs.to_pylist():
        component = lock.components[run["component"]]
        q = ratio(component.rate_hz, lock.chunk_rate_hz)
        for start in range(run["start"], run["stop"], lock.every):
            frames = run.get("chunk_stop", run["stop"]) - start
            recorded[component.name].append(min(lock.chunk_steps, recorded_steps(frames, q)))
    for one in planned.components:
        assert one.valid_steps == pytest.approx(np.mean(recorded[one.component]) / lock.chunk_steps)
        assert one.chunk_s == pytest.approx(lock.chunk_steps / (recipe.chunk.rate_hz or one.frames / one.hours / 3600))


def test_a_role_is_covered_by_any_camera_of_it(lake):
    shown = plan(parse_recipe(ALL + "cameras: {base: [exterior], hand: [wrist], roof: [ceiling]}"), lake).presentation
    assert shown.camera_coverage == {"base": pytest.approx(1), "hand": pytest.approx(1), "roof": 0}


def test_dropout_is_taken_off_the_coverage_but_where_nothing_else_is_shown(lake):
    text = ALL + "cameras: {base: [base], right: [right_wrist]}\ncamera_dropout: {base: 0.5, right: 0.2}"
    shown = {one.embodiment: one for one in plan(parse_recipe(text), lake).presentation.embodiments}
    assert shown["ur5e"].camera_coverage == {"base": pytest.approx(1), "right": 0}
    assert shown["bimanual_trossen"].camera_coverage == {"base": pytest.approx(0.6), "right": pytest.approx(0.9)}


@pytest.fixture(scope="module")
def two_tasks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two_tasks")
    lake = Lake.open_or_create(str(folder / "lake"))
    store(lake, folder, [make_episode(0, task="open it", num_frames=10), make_episode(1, task="shut", num_frames=30)])
    return lake


@pytest.mark.parametrize("group", ["embodiment_task", "embodiment", "source"])
def test_tasks_are_told_whatever_a_component_is_of(two_tasks, group):
    text = f"{ALL}group: {group}\nweighting: {{alpha: 1}}\ntasks: {{'open *': open}}"
    told = [(one.name, one.frames, one.share) for one in plan(parse_recipe(text), two_tasks).by_task]
    assert told == [("shut", 30, pytest.approx(0.75)), ("open", 10, pytest.approx(0.25))]
