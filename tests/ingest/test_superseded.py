"""A lock made before a changed adapter superseded its episodes still feeds training the bytes that it pinned."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from curation.lock import Lock, register
from curation.make_lock import make_lock
from curation.recipe import parse_recipe
from ingest.formats import aloha
from ingest.job import Request, ingest
from schema.gc import find_garbage, remove
from schema.lake import Lake
from tests.ingest.driving import aloha_source, assert_sound
from training.batch import Batch
from training.loader import Loader

pytestmark = pytest.mark.usefixtures("alone")

RECIPE = parse_recipe("name: old\nsources: [{source: logs}]\nchunk: {steps: 3}\nimage_size: 32\n")


@pytest.fixture(params=["local", "s3"])
def uri(request, tmp_path):
    return request.getfixturevalue("s3_lake_uri") if request.param == "s3" else str(tmp_path / "lake")


def change_the_adapter(monkeypatch):
    """Its next version reads every picture as its negative and every action as half of it."""
    real = aloha.read

    def read(location, record):
        raw = real(location, record)
        pictures = {name: (255 - frame for frame in frames) for name, frames in raw.pictures.items()}
        return replace(raw, pictures=pictures, fields={**raw.fields, "action": raw.fields["action"] * 0.5})

    monkeypatch.setattr(aloha, "read", read)
    monkeypatch.setattr(aloha, "VERSION", aloha.VERSION + 1)


def drawn(lock):
    """Three batches of a loader, each as arrays by name."""
    with Loader(lock, batch_size=4) as loader:
        batches = (next(loader) for _ in range(3))
        return [{name: np.array(getattr(batch, name)) for name in Batch.__slots__} for batch in batches]


def test_an_old_lock_reads_its_own_bytes_after_its_episodes_were_superseded(tmp_path, uri, monkeypatch):
    source = aloha_source(tmp_path / "logs", 3, steps=4)
    ingest(Request(uri=str(source)), lake_uri=uri)
    lake = Lake.open(uri)
    lock = make_lock(RECIPE, lake)
    place = f"{uri}/{register(lock, lake)}"
    before = drawn(lock)

    change_the_adapter(monkeypatch)
    report = ingest(Request(uri=str(source)), lake_uri=uri)
    remove(lake, find_garbage(lake, older_than=timedelta(0)))

    old, new = Lock.load(place), make_lock(RECIPE, lake)
    after, anew = drawn(old), drawn(new)
    assert report.outcomes["superseded"] == 3
    assert old.digest == lock.digest != new.digest
    assert lake.episodes(version=lock.versions["episodes"]).collect()["supersedes"].null_count() == 3
    for was, now, changed in zip(before, after, anew, strict=True):
        for name in Batch.__slots__:
            np.testing.assert_array_equal(now[name], was[name], err_msg=name)
        np.testing.assert_array_equal(changed["sample_ids"], was["sample_ids"])
        assert not np.array_equal(changed["images"], was["images"])
        assert not np.array_equal(changed["actions"], was["actions"])
    assert_sound(lake)
