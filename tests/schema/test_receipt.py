"""Receipts: what a shard holds against what it was given; every change afterwards is named by `lake verify`."""

import json
from dataclasses import replace

import google_crc32c
import numpy as np
import pytest

from schema.errors import SchemaError
from schema.lake import Lake
from schema.receipt import CameraClaim, Claim, Receipt, is_sampled, make_receipt
from schema.shards import ShardWriter
from schema.verify import verify
from tests.lakes import make_episode, store


def claim_of(episode, **changes):
    """The true claim of an episode whose source had exactly its numbers."""
    cameras = {
        name: CameraClaim(
            pictures=len(pictures),
            passed_through=len(pictures),
            crc32c=google_crc32c.value(b"".join(picture.jpeg for picture in pictures)),
            psnr_db={},
        )
        for name, pictures in episode.cameras.items()
    }
    usual = {
        "episode_id": episode.episode_id,
        "source_digest": episode.episode_id,
        "signals": {name: values.astype(np.float64) for name, values in episode.signals.items()},
        "timestamp_T": episode.timestamp_T,
        "cameras": cameras,
    }
    return Claim(**(usual | changes))


@pytest.fixture
def episodes():
    return [make_episode(0, num_frames=3), make_episode(1, embodiment="franka", num_frames=2)]


@pytest.fixture
def shard(tmp_path, episodes):
    with ShardWriter(tmp_path / "spool") as writer:
        for episode in episodes:
            writer.add(episode)
        return writer.finish()


def test_a_receipt_of_true_claims_has_no_error_and_counts_what_passed_through(shard, episodes):
    receipt = make_receipt(shard, [claim_of(episode) for episode in episodes])

    first = receipt.episodes[0]
    assert receipt.shard == shard.digest
    assert [item.num_frames for item in receipt.episodes] == [3, 2]
    assert set(first.max_error.values()) == {0.0}
    assert first.max_time_error_s == 0.0
    assert {camera.passed_through for camera in first.cameras.values()} == {3}


def test_a_receipt_read_back_is_the_one_that_was_written(shard, episodes):
    receipt = make_receipt(shard, [claim_of(episode) for episode in episodes])

    assert Receipt.parse(receipt.encoded()) == receipt
    with pytest.raises(SchemaError, match="not what robomix writes"):
        Receipt.parse(b'{"episodes": [{}]}')


def test_a_numeric_error_is_measured_per_signal(shard, episodes):
    claims = [claim_of(episode) for episode in episodes]
    off = {name: values.copy() for name, values in claims[0].signals.items()}
    off["state.gripper"][1, 0] += 0.25
    claims[0] = replace(claims[0], signals=off, timestamp_T=episodes[0].timestamp_T + np.array([0, 0.001, 0]))

    first = make_receipt(shard, claims).episodes[0]

    assert first.max_error["state.gripper"] == pytest.approx(0.25, abs=1e-9)
    assert first.max_error["action.gripper"] == 0.0
    assert first.max_time_error_s == pytest.approx(0.001)


def test_frames_that_are_not_the_logs_own_have_no_error_to_tell(shard, episodes):
    claims = [claim_of(episode) for episode in episodes]
    longer = {name: np.concatenate([values, values]) for name, values in claims[0].signals.items()}
    claims[0] = replace(claims[0], signals=longer, timestamp_T=None)

    first = make_receipt(shard, claims).episodes[0]

    assert set(first.max_error.values()) == {None}
    assert first.max_time_error_s is None


def test_a_shard_that_reads_back_otherwise_is_refused(shard, episodes):
    data = bytearray(shard.tar.read_bytes())
    data[data.index(b"\xff\xd8\xff") + 30] ^= 1
    shard.tar.write_bytes(data)

    with pytest.raises(SchemaError, match=r"read again after writing, is not what was written: base: its 3 pictures"):
        make_receipt(shard, [claim_of(episode) for episode in episodes])


@pytest.fixture
def lake_with_receipt(tmp_path, shard, episodes):
    """A lake of one shard with its receipt, and how to change what the receipt says."""
    lake = Lake.open_or_create(str(tmp_path / "lake"))
    store(lake, tmp_path / "spool2", episodes)
    file = f"shards/tiny/{shard.digest}.receipt.json"
    written = make_receipt(shard, [claim_of(episode) for episode in episodes]).encoded()

    def change(edit):
        told = json.loads(written)
        edit(told)
        lake.write(file, json.dumps(told).encode())
        return verify(lake)

    return change


def test_verification_replays_receipts_and_counts_them(lake_with_receipt):
    found = lake_with_receipt(lambda told: None)

    assert (found.problems, found.receipts, found.shards) == ((), 1, 1)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda told: told["episodes"][0].update(num_frames=4), "3 frames, its receipt says 4"),
        (lambda told: told["episodes"][0]["values_crc32c"].update({"state.gripper": 1}), "the values of state.gripper"),
        (lambda told: told["episodes"][0]["cameras"]["base"].update(crc32c=1), "base: its 3 pictures are not the 3"),
        (lambda told: told["episodes"].pop(0), "its shard's receipt does not name it"),
        (lambda told: told.update(shard="0" * 32), "its receipt is that of shard 0000"),
        (lambda told: told.pop("episodes"), "cannot be read: SchemaError: a receipt of"),
    ],
)
def test_a_lake_that_differs_from_its_receipt_is_a_problem(lake_with_receipt, edit, said):
    found = lake_with_receipt(edit)

    assert [problem for problem in found.problems if said in problem]


def test_about_one_picture_in_64_is_sampled_always_the_same():
    sampled = [is_sampled("a" * 32, frame, "base") for frame in range(6400)]

    assert sampled == [is_sampled("a" * 32, frame, "base") for frame in range(6400)]
    assert 60 < sum(sampled) < 140
