"""Quantiles are within 0.1 % in rank of numpy's, however the values are spread."""

import numpy as np
import pytest

from curation.shard_work import Work
from curation.signals import Group
from curation.statistics import statistics
from schema.embodiment import load_embodiment
from tests.curation.numbers_lake import write

ROBOT = load_embodiment("mobile_trossen")
SPACE = ROBOT.action_space()
STATE, ACTION = ROBOT.dimensions(SPACE.state), ROBOT.dimensions(SPACE.action)
FRAMES = 6000
RANK_ERROR = 0.001


def spread(random):
    """Fourteen shapes that are hard on histograms, by name."""
    uniform, normal = random.random(FRAMES), random.normal(size=FRAMES)
    sign = np.where(random.random(FRAMES) < 0.5, -1.0, 1.0)
    far = normal.copy()
    far[7] = 1e30
    return {
        "normal": normal,
        "heavy tails": normal / np.maximum(uniform, 1e-4) ** 3,
        "sixty decades": sign * 10 ** (uniform * 60 - 30),
        "tiny but for one": np.where(np.arange(FRAMES) == 5, 1e30, normal * 1e-30),
        "one far away": far,
        "constant": np.full(FRAMES, 0.3),
        "two spikes": np.where(uniform < 0.95, 0.0, 1.0),
        "a spike in noise": np.where(uniform < 0.7, 0.0, normal * 1e-12),
        "spikes inside": np.select([uniform < 0.4, uniform < 0.8], [-0.25, 0.125], normal),
        "neighbouring numbers": 1 + random.integers(0, 3, FRAMES) * np.finfo(float).eps,
        "a tiny range": 1e6 + uniform * 1e-9,
        "the smallest numbers": random.integers(0, 4, FRAMES) * 5e-324,
        "both zeros": np.where(uniform < 0.5, -0.0, 0.0),
        "float32": normal.astype(np.float32).astype(np.float64),
    }


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The values by name, and the row of the statistics for each."""
    values = spread(np.random.default_rng(0))
    state_TD = np.stack(list(values.values()), axis=1)
    split = np.cumsum([ROBOT.signal(name).width for name in SPACE.state])[:-1]
    signals = dict(zip(SPACE.state, np.split(state_TD, split, axis=1), strict=True))
    signals |= {name: np.zeros((FRAMES, ROBOT.signal(name).width)) for name in SPACE.action}
    episodes = [{name: column[first::3] for name, column in signals.items()} for first in range(3)]
    lake, runs = write(tmp_path_factory.mktemp("spread"), episodes)
    group = Group(key="robot", state=STATE, action=ACTION, steps=1, form="stored", runs=runs)
    rows = statistics(lake, [group], layout="pi", width=32, work=Work(scheduler="synchronous")).to_pylist()
    return values, dict(zip(values, rows[: len(values)], strict=True))


@pytest.mark.parametrize("name", spread(np.random.default_rng(0)))
@pytest.mark.parametrize(("column", "share"), [("q01", 0.01), ("q99", 0.99)])
def test_a_quantile_is_within_a_thousandth_in_rank(measured, name, column, share):
    values, found = measured[0][name], measured[1][name][column]
    below, up_to = (values < found).mean(), (values <= found).mean()
    assert below - RANK_ERROR <= share <= up_to + RANK_ERROR
    assert values.min() <= found <= values.max()


@pytest.mark.parametrize("name", ["constant", "two spikes", "a spike in noise", "neighbouring numbers", "both zeros"])
def test_a_value_that_is_met_often_is_told_exactly(measured, name):
    values, row = measured[0][name], measured[1][name]
    if name != "a spike in noise":
        assert [row["q01"], row["q99"]] == np.quantile(values, [0.01, 0.99], method="inverted_cdf").tolist()
    assert [row["min"], row["max"]] == [values.min(), values.max()]


def test_no_zero_is_negative(measured):
    row = measured[1]["both zeros"]
    assert not any(np.signbit(row[column]) for column in ("min", "max", "q01", "q99"))


@pytest.mark.parametrize("name", spread(np.random.default_rng(0)))
def test_nothing_explodes_when_it_is_normalized(measured, name):
    values, row = measured[0][name], measured[1][name]
    assert row["std"] >= 1e-5
    assert np.isfinite(np.float32((values - row["mean"]) / row["std"])).all()
