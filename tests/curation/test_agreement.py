"""Sources whose numbers do not mean the same are not normalized together unless a person says so."""

import numpy as np
import pytest

from curation.make_lock import make_lock
from curation.recipe import parse_recipe
from curation.shard_work import Work
from curation.signals import Group
from curation.statistics import constant_dimensions, statistics
from schema.embodiment import load_embodiment
from schema.errors import ConfigError
from schema.lake import Lake
from tests.curation.numbers_lake import write
from tests.lakes import make_episode, store

ROBOT = load_embodiment("ur5e")
SPACE = ROBOT.action_space()
NAMES = (*SPACE.state, *SPACE.action)
HERE = Work(scheduler="synchronous")


def episodes(seed, *, shift=0.0, factor=1.0):
    """Two episodes; every number but the grippers' is shifted and multiplied."""
    random = np.random.default_rng(seed)
    return [
        {
            name: random.normal(0.2, 1, (50, ROBOT.signal(name).width)) * (1 if "gripper" in name else factor)
            + (0 if "gripper" in name else shift)
            for name in NAMES
        }
        for _ in range(2)
    ]


def measured(folder, **other):
    """Statistics over a source, and one whose numbers are shifted and multiplied."""
    lake, runs = write(folder, episodes(0), source="a")
    _, more = write(folder, episodes(1, **other), source="b")
    group = Group(
        key="robot",
        state=ROBOT.dimensions(SPACE.state),
        action=ROBOT.dimensions(SPACE.action),
        steps=3,
        form="stored",
        runs=runs + more,
    )
    return lambda **options: statistics(lake, [group], layout="pi", width=32, work=HERE, **options)


def test_sources_alike_are_pooled(tmp_path):
    assert measured(tmp_path, shift=0.5, factor=0.5)().num_rows == 14


@pytest.mark.parametrize("other", [{"shift": 20.0}, {"factor": 57.3}, {"factor": -0.01}])
def test_another_zero_or_unit_is_refused_by_name_and_taken_when_told_to(tmp_path, other):
    measure = measured(tmp_path, **other)
    with pytest.raises(ConfigError, match=r"sources do not agree .* in 'b', .* in 'a'.*by_source") as caught:
        measure()
    assert "gripper" not in str(caught.value)
    assert measure(must_agree=False).num_rows == 14


@pytest.fixture
def two_sources(tmp_path):
    lake = Lake.open_or_create(str(tmp_path / "lake"))
    for source in ("a", "b"):
        made = [make_episode(n, source=source, task=f"task {source}") for n in range(2)]
        store(lake, tmp_path, made, bundle_id=source)
    return lake


def locked(lake, statistics_by, tasks=""):
    text = f"name: x\nsources: [{{source: a}}, {{source: b}}]\nstatistics: {statistics_by}\n{tasks}"
    return make_lock(parse_recipe(text), lake, work=HERE)


def test_statistics_by_source_have_a_key_for_each(two_sources):
    apart, pooled = locked(two_sources, "by_source"), locked(two_sources, "pooled")
    keys = [component.stats_key for component in apart.components]
    assert [key.rsplit("/", 1)[1] for key in keys] == ["a", "b"]
    assert set(apart.stats["key"].to_pylist()) == set(keys)
    assert len(set(pooled.stats["key"].to_pylist())) == 1
    counts = {row["key"]: row["count"] for row in apart.stats.to_pylist() if row["role"] == "state"}
    assert list(counts.values()) == [24, 24]


def test_a_component_of_two_sources_has_no_statistics_by_source(tmp_path):
    lake = Lake.open_or_create(str(tmp_path / "lake"))
    for source in ("a", "b"):
        store(lake, tmp_path, [make_episode(0, source=source)], bundle_id=source)
    with pytest.raises(ConfigError, match="statistics: component 'ur5e/put block on plate' takes episodes of a and b"):
        locked(lake, "by_source")


def test_constant_dimensions_are_listed(tmp_path):
    lake, runs = write(tmp_path, [{name: np.zeros((5, ROBOT.signal(name).width)) for name in NAMES}])
    group = Group(
        key="robot",
        state=ROBOT.dimensions(SPACE.state),
        action=ROBOT.dimensions(SPACE.action),
        steps=3,
        form="stored",
        runs=runs,
    )
    found = constant_dimensions(statistics(lake, [group], layout="pi", width=32, work=HERE))
    assert len(found) == 12
    assert found[0] == f"robot: {ROBOT.dimensions(SPACE.state)[0].name}"
    assert not any("gripper" in one for one in found)
