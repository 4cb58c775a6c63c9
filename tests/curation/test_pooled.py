"""Sources that are normalized together are compared by the moments that the catalogue keeps."""

from dataclasses import replace

import numpy as np
import pytest

from curation.pooled import disagreements
from curation.recipe import parse_recipe
from curation.select import select
from schema.lake import Lake
from tests.lakes import make_episode, store


def found(folder, *, sources, change=lambda values: values):
    """What disagrees among sources of two episodes each; `change` is done to one signal of the last source."""
    lake = Lake.open_or_create(str(folder / "lake"))
    for source in sources:
        episodes = [make_episode(number, source=source, num_frames=40) for number in range(2)]
        if source == sources[-1]:
            name = "action.joint_position"
            episodes = [
                replace(one, signals={**one.signals, name: np.float32(change(one.signals[name]))}) for one in episodes
            ]
        store(lake, folder, episodes, bundle_id=source)
    text = "name: x\nsources:\n" + "\n".join(f"  - source: {source}" for source in sources)
    return list(disagreements(select(parse_recipe(text), lake), lake))


def third_joint(change):
    """Changes one dimension only."""

    def made(values):
        changed = values.copy()
        changed[:, 2] = change(changed[:, 2])
        return changed

    return made


def test_sources_that_agree_are_not_told_of(tmp_path):
    assert found(tmp_path, sources=("a", "b", "c")) == []


def test_a_source_alone_agrees_with_itself(tmp_path):
    assert found(tmp_path, sources=("a",), change=lambda values: values + 9) == []


@pytest.mark.parametrize("change", [lambda values: values + 1.6, lambda values: values * 57.3], ids=["zero", "unit"])
def test_another_zero_or_unit_is_found_where_it_is(tmp_path, change):
    (one,) = found(tmp_path, sources=("a", "b", "c"), change=third_joint(change))
    assert one.source == "c"
    assert one.dimension.startswith("action.joint_position.")
    assert one.others_mean == pytest.approx(0.5, abs=0.1)
    assert one.others_std == pytest.approx(0.29, abs=0.05)


def test_two_sources_that_disagree_are_told_of_once(tmp_path):
    assert len(found(tmp_path, sources=("a", "b"), change=lambda values: values - 3)) == 1
