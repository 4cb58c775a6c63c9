"""What cannot be trained is told before any work, all of it at once."""

from dataclasses import replace
from pathlib import Path

import pytest

from schema.errors import ConfigError
from schema.lake import Lake
from tests.lakes import make_lake
from training.preflight import preflight


def test_a_sound_lock_passes(lock, config, lake):
    preflight(lock, config, world_size=2, lake=lake)


def test_everything_is_told_at_once(make, config, tmp_path):
    lock = make(image_size=32, width=40)

    with pytest.raises(ConfigError) as caught:
        preflight(lock, config, world_size=3, lake=Lake(str(tmp_path / "moved")))

    message = str(caught.value)
    for expected in (
        "its pictures are 32×32, model 'tiny_cpu' takes 64: make a lock with `image_size: 64`",
        "its vectors are padded to 40, model 'tiny_cpu' takes 32",
        "2 of 2 files of its shards are gone",
        "the global batch 4 cannot be split evenly over 3 workers",
    ):
        assert expected in message


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_a_shard_that_is_gone_is_named(lock, config, tmp_path, kind):
    lake = make_lake(tmp_path)
    (gone,) = Path(lake.root).glob(f"shards/tiny/*.{kind}")
    gone.unlink()

    with pytest.raises(ConfigError, match=rf"1 of 2 files of its shards are gone.*{gone.name}"):
        preflight(lock, config, world_size=1, lake=lake)


def test_a_prompt_that_would_be_cut_is_told(lock, config, lake):
    long = "x" * 40
    components = tuple(replace(component, prompt_prefix=long) for component in lock.components)

    with pytest.raises(ConfigError, match="its longest prompt has"):
        preflight(replace(lock, components=components), config, world_size=1, lake=lake)
