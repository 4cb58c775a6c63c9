"""On a real Ray cluster statistics are the same to the bit, and so is the lock; what is wrong is told as elsewhere."""

import pytest

from curation import shard_work
from curation.make_lock import make_lock
from curation.shard_work import Work
from curation.signals import Group, Run
from curation.statistics import statistics
from schema.embodiment import load_embodiment
from schema.errors import SchemaError

pytest_plugins = ["tests.ingest.ray_cluster"]


@pytest.mark.parametrize("form", ["stored", "delta"])
@pytest.mark.parametrize("partitions", [1, 5])
def test_a_lock_made_on_ray_is_the_one_made_here(cluster, lake, recipe, form, partitions):
    asked = recipe(f"chunk: {{steps: 8}}\naction_form: {form}")
    here = make_lock(asked, lake, work=Work(scheduler="synchronous"))
    on_ray = make_lock(asked, lake, work=Work(partitions=partitions))
    assert on_ray.stats.equals(here.stats)
    assert on_ray.digest == here.digest


def test_a_cluster_that_the_environment_names_is_joined(cluster, monkeypatch):
    assert shard_work._is_ray_at_hand()
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    assert not shard_work._is_ray_at_hand()
    monkeypatch.setenv("RAY_ADDRESS", cluster["RAY_ADDRESS"])
    assert shard_work._is_ray_at_hand()


def test_a_shard_that_is_gone_is_told_without_rays_traceback(cluster, lake):
    robot = load_embodiment("ur5e")
    space = robot.action_space()
    run = Run(episode_id="a", shard="shards/tiny/gone", row_group=0, start=0, stop=5)
    group = Group(
        key="robot",
        state=robot.dimensions(space.state),
        action=robot.dimensions(space.action),
        steps=2,
        form="stored",
        runs=(run,),
    )
    with pytest.raises(SchemaError, match=r"^shards/tiny/gone\.parquet is missing") as caught:
        statistics(lake, [group], layout="pi", width=32)
    assert type(caught.value) is SchemaError
