"""Shards as stock tools read them: webdataset, tarfile and pyarrow, none of which knows robomix."""

import gc
import io
import json
import tarfile
import warnings
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import webdataset as wds
from PIL import Image

from schema.digest import digest_bytes
from schema.episode import Instruction
from schema.errors import SchemaError
from schema.frames import moments, numbers
from schema.picture import decode_jpeg
from schema.shards import ShardWriter, file_digest, shard_digest, tar_samples
from schema.tables import EPISODES
from tests.lakes import make_episode


def write(folder, episodes):
    with ShardWriter(folder) as writer:
        for episode in episodes:
            writer.add(episode)
        return writer.finish()


def mixed_episodes():
    """Robots of other widths and cameras, one without cameras, one with extras of every kind."""
    extras = {
        "camera_info/K": np.arange(4 * 9, dtype=np.float64).reshape(4, 3, 3),
        "pressed": np.array([True, False, True, True]),
        "ticks": np.arange(4) + 2**60,
        "wrench": np.full((4, 2), np.nan, np.float32),
    }
    texts = (Instruction(text="reach", stop=2), Instruction(text="grasp", start=2))
    return [
        make_episode(0, num_frames=3, image_size=16),
        make_episode(1, embodiment="franka", num_frames=2, image_size=16),
        make_episode(2, embodiment="mobile_fibocom", num_frames=2, image_size=24),
        replace(make_episode(3, num_frames=4), cameras={}, absent_cameras={"base": "broken"}),
        replace(make_episode(4, num_frames=4, image_size=16), extras=extras, instructions=texts),
        replace(make_episode(5, num_frames=2, image_size=16), extras={"ticks": np.zeros((2, 3), np.float32)}),
    ]


@pytest.fixture(scope="module")
def episodes():
    return mixed_episodes()


@pytest.fixture(scope="module")
def shard(episodes, tmp_path_factory):
    return write(tmp_path_factory.mktemp("shard"), episodes)


def samples_of(shard, decode=None):
    """All samples, by stock webdataset, which leaves it to the garbage collector to close the tar."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        dataset = wds.WebDataset(str(shard.tar), shardshuffle=False)
        samples = list(dataset.decode(decode) if decode else dataset)
        del dataset
        gc.collect()
    return samples


def frames_of(episodes):
    return [(episode, frame) for episode in episodes for frame in range(episode.num_frames)]


def test_webdataset_gives_one_sample_per_frame_in_order_with_the_same_bytes(episodes, shard):
    samples = samples_of(shard)
    assert [sample["__key__"] for sample in samples] == [
        f"{episode.episode_id}-{frame:06d}" for episode, frame in frames_of(episodes)
    ]
    for sample, (episode, frame) in zip(samples, frames_of(episodes), strict=True):
        pictures = {name.removesuffix(".jpg"): data for name, data in sample.items() if name.endswith(".jpg")}
        assert pictures == {camera: shown[frame].jpeg for camera, shown in episode.cameras.items()}


def test_webdataset_decodes_pictures_and_numbers(episodes, shard):
    samples = samples_of(shard, "rgb8")
    for sample, (episode, frame) in zip(samples, frames_of(episodes), strict=True):
        for camera, shown in episode.cameras.items():
            np.testing.assert_array_equal(sample[f"{camera}.jpg"], np.array(Image.open(io.BytesIO(shown[frame].jpeg))))
        for name, values in episode.signals.items():
            assert sample["json"]["values"][name] == values[frame].tolist()


def test_the_json_says_what_the_parquet_holds(episodes, shard):
    file = pq.ParquetFile(shard.parquet)
    samples = iter(samples_of(shard, "pil"))
    for group, episode in enumerate(episodes):
        table = file.read_row_group(group)
        held = {name: numbers(table[name]) for name in table.column_names if name.startswith(("state.", "action."))}
        for frame in range(episode.num_frames):
            told = next(samples)["json"]
            assert told["episode_id"] == episode.episode_id == table["episode_id"][frame].as_py()
            assert told["timestamp"] == table["timestamp"][frame].as_py()
            assert (told["frame"], told["embodiment"], told["task"]) == (frame, episode.embodiment.name, episode.task)
            assert told["instruction"] == episode.instructions[-1 if frame >= 2 else 0].text
            assert {name: value for name, value in told["values"].items() if not name.startswith("extra.")} == {
                name: values[frame].tolist() for name, values in held.items() if values is not None
            }


def test_extras_of_any_shape_are_in_both_files_and_nan_is_null_in_json(episodes, shard):
    table = pq.ParquetFile(shard.parquet).read_row_group(4)
    told = [sample["json"]["values"] for sample in samples_of(shard, "pil")][11:15]
    for name, values in episodes[4].extras.items():
        np.testing.assert_array_equal(numbers(table[f"extra.{name}"]).reshape(values.shape), values)
    assert [values["extra.camera_info/K"] for values in told] == episodes[4].extras["camera_info/K"].tolist()
    assert [values["extra.ticks"] for values in told] == episodes[4].extras["ticks"].tolist()
    assert [values["extra.wrench"] for values in told] == [[None, None]] * 4


def test_the_parquet_has_one_row_group_per_episode(episodes, shard):
    file = pq.ParquetFile(shard.parquet)
    assert file.num_row_groups == len(episodes)
    for row, episode in zip(shard.rows, episodes, strict=True):
        table = file.read_row_group(row["row_group"])
        assert set(table["episode_id"].to_pylist()) == {episode.episode_id}
        assert table["frame"].to_pylist() == list(range(episode.num_frames))
    assert [row["first_row"] for row in shard.rows] == [0, 3, 5, 7, 11, 15]


def test_signals_of_other_robots_are_null(shard):
    file = pq.ParquetFile(shard.parquet)
    assert (
        numbers(
            file.read_row_group(0)["state.base_velocity"]
            if "state.base_velocity" in file.schema_arrow.names
            else file.read_row_group(0)["action.base_velocity"]
        )
        is None
    )
    assert file.read_row_group(3)["camera.base"].null_count == 4


def test_offsets_and_lengths_point_exactly_at_the_pictures(episodes, shard):
    content = shard.tar.read_bytes()
    file = pq.ParquetFile(shard.parquet)
    for group, (episode, row) in enumerate(zip(episodes, shard.rows, strict=True)):
        table = file.read_row_group(group)
        for camera, shown in episode.cameras.items():
            for picture, place in zip(shown, table[f"camera.{camera}"].to_pylist(), strict=True):
                start, stop = place["offset"], place["offset"] + place["length"]
                assert content[start:stop] == picture.jpeg
                assert row["tar_start"] <= start < stop <= row["tar_stop"]
                assert decode_jpeg(content[start:stop]).shape[:2] == (place["height"], place["width"])


def test_an_episodes_samples_are_one_byte_range_and_the_ranges_join(shard):
    with tarfile.open(shard.tar) as tar:
        samples = list(tar_samples(tar))
    assert [row["tar_start"] for row in shard.rows] == [0, *(row["tar_stop"] for row in shard.rows[:-1])]
    for row in shard.rows:
        inside = [
            key
            for key, members in samples
            if all(row["tar_start"] <= offset < row["tar_stop"] for offset, _ in members.values())
        ]
        assert inside == [f"{row['episode_id']}-{frame:06d}" for frame in range(row["num_frames"])]


def test_the_camera_clock_is_kept_where_a_camera_has_its_own(tmp_path):
    times = np.array([0.01, 0.06])
    shard = write(tmp_path, [replace(make_episode(num_frames=2), camera_timestamps={"base": times})])
    table = pq.read_table(shard.parquet)
    assert [place["timestamp"] for place in table["camera.base"].to_pylist()] == times.tolist()
    assert [place["timestamp"] for place in table["camera.left_wrist"].to_pylist()] == table["timestamp"].to_pylist()


def test_the_same_episodes_give_the_same_bytes_and_the_same_name(shard, tmp_path):
    again = write(tmp_path, mixed_episodes())
    assert again.digest == shard.digest
    assert again.rows == shard.rows
    assert again.tar.read_bytes() == shard.tar.read_bytes()
    assert again.parquet.read_bytes() == shard.parquet.read_bytes()


def test_the_name_is_the_digest_of_both_files(shard):
    assert shard.digest == shard_digest(file_digest(shard.tar), file_digest(shard.parquet))
    assert file_digest(shard.tar).hex() == digest_bytes(shard.tar.read_bytes())


def test_another_number_gives_another_name(shard, tmp_path):
    changed = mixed_episodes()
    name = next(iter(changed[0].signals))
    changed[0].signals[name][0, 0] += 0.5
    assert write(tmp_path, changed).digest != shard.digest


def test_rows_hold_what_the_catalogue_asks_of_an_episode(episodes, shard):
    rows = shard.rows
    assert {*rows[0]} | {"conversion", "source_key", "supersedes", "shard", "ingest_run", "committed_at"} == {
        *EPISODES.names
    }
    assert [row["moments"] for row in rows] == [moments(episode.signals) for episode in episodes]
    assert [row["cameras"] for row in rows] == [sorted(episode.cameras) for episode in episodes]
    assert rows[3]["absent_cameras"] == [{"camera": "base", "value": "broken"}]
    assert rows[0]["camera_bytes"] == [
        {"camera": camera, "value": sum(len(picture.jpeg) for picture in shown)}
        for camera, shown in sorted(episodes[0].cameras.items())
    ]
    assert rows[0]["rate_hz"] == pytest.approx(20)
    assert rows[0]["duration_s"] == pytest.approx(0.1)


def test_no_episode_is_no_shard(tmp_path):
    assert write(tmp_path, []) is None


@pytest.mark.parametrize("fault", ["a number that JSON cannot say", "a signal of another length", "a long camera name"])
def test_an_episode_that_cannot_be_stored_leaves_the_shard_as_it_was(fault, tmp_path):
    good, bad = make_episode(0, num_frames=2), make_episode(1, num_frames=2)
    if fault == "a number that JSON cannot say":
        bad = replace(bad, timestamp_T=np.array([0.0, np.nan]))
    elif fault == "a signal of another length":
        bad = replace(bad, extras={"short": np.zeros(5)})
    else:
        bad = replace(bad, cameras={"c" * 80: bad.cameras["base"]})
    with ShardWriter(tmp_path / "faulty") as writer:
        writer.add(good)
        with pytest.raises(ValueError, match=r"JSON|longer|ASCII"):
            writer.add(bad)
        writer.add(make_episode(2, num_frames=2))
        found = writer.finish()
    assert found.digest == write(tmp_path / "clean", [good, make_episode(2, num_frames=2)]).digest


def test_a_shard_whose_write_failed_is_never_finished(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with ShardWriter(tmp_path) as writer:
        monkeypatch.setattr("schema.tar.TarWriter.add", full)
        with pytest.raises(OSError, match="No space left"):
            writer.add(make_episode(num_frames=2))
        monkeypatch.undo()
        with pytest.raises(SchemaError, match="is the disk full"):
            writer.add(make_episode(num_frames=2))
        with pytest.raises(SchemaError, match="is the disk full"):
            writer.finish()


def test_text_in_any_language_reaches_the_json(tmp_path):
    shard = write(tmp_path, [make_episode(num_frames=1, instruction="把积木放到盘子上 – «π»")])
    with tarfile.open(shard.tar) as tar:
        name = next(name for name in tar.getnames() if name.endswith(".json"))
        assert json.load(tar.extractfile(name))["instruction"] == "把积木放到盘子上 – «π»"
