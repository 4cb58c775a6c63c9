"""Receipts of real conversions: no error for floats, each JPEG that fits proven the source's own, PSNR of the rest."""

import json

import h5py
import numpy as np
import pytest

from ingest.job import Request, ingest
from schema.lake import Lake
from schema.receipt import Receipt
from tests.ingest.driving import assert_sound
from tests.ingest.writers import rlds_episode, write_aloha, write_rlds

pytestmark = pytest.mark.usefixtures("alone")


def receipts(logs, lake_uri):
    """The episodes of every receipt of a lake that these logs alone were ingested into."""
    ingest(Request(uri=str(logs)), lake_uri=lake_uri)
    lake = Lake.open(lake_uri)
    assert_sound(lake)
    shards = lake.episodes().collect()["shard"].unique()
    return [item for shard in shards for item in Receipt.parse(lake.read(f"{shard}.receipt.json")).episodes]


def test_jpegs_that_fit_are_proven_to_be_the_sources_own(tmp_path):
    write_rlds(tmp_path / "logs", [rlds_episode(number) for number in range(3)])

    found = receipts(tmp_path / "logs", str(tmp_path / "lake"))

    assert len(found) == 3
    assert all(item.cameras["base"].passed_through == item.cameras["base"].pictures == 6 for item in found)
    assert all(item.cameras["base"].psnr_db == {} for item in found)
    assert {error for item in found for error in item.max_error.values()} == {0.0}
    assert all(item.source_digest == item.episode_id for item in found)


def test_raw_pictures_are_encoded_and_a_sample_of_them_is_compared(tmp_path):
    write_aloha(tmp_path / "logs" / "episode_0.hdf5", steps=300)

    (found,) = receipts(tmp_path / "logs", str(tmp_path / "lake"))

    cameras = found.cameras.values()
    assert all(camera.pictures == 300 and camera.passed_through == 0 for camera in cameras)
    decibels = [value for camera in cameras for value in camera.psnr_db.values()]
    assert 4 <= len(decibels) <= 30
    assert min(decibels) > 25
    assert found.max_time_error_s is None


def test_integers_beyond_single_precision_have_the_error_that_storing_them_makes(tmp_path):
    path = write_aloha(tmp_path / "logs" / "episode_0.hdf5")
    with h5py.File(path, "a") as file:
        del file["action"]
        values = np.zeros((6, 14), np.int64)
        values[2, 3] = 2**24 + 1
        file["action"] = values

    (found,) = receipts(tmp_path / "logs", str(tmp_path / "lake"))

    assert max(error for error in found.max_error.values() if error is not None) == 1.0


def test_the_same_logs_give_the_same_receipts(tmp_path):
    write_aloha(tmp_path / "logs" / "episode_0.hdf5", steps=100)

    one, other = (receipts(tmp_path / "logs", str(tmp_path / name)) for name in ("one", "other"))

    assert one == other
    assert json.loads(Lake.open(str(tmp_path / "one")).read(_receipt_file(tmp_path / "one")))["sample_every"] == 64


def _receipt_file(lake):
    return str(next(lake.rglob("*.receipt.json")).relative_to(lake))
