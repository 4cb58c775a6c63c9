"""LeRobot v3.0: episodes that share Parquet and video files, cut out of them without reading the others."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest.formats import columns as parquet_columns
from ingest.formats import lerobot, video
from ingest.location import Location
from schema.errors import EpisodeError, SourceError
from schema.picture import encode_jpeg
from tests.ingest.writers import INSTRUCTION, lerobot_columns, lerobot_info, picture, write_video

LENGTHS = (5, 3, 6)
KEYS = ("observation.images.base", "observation.images.left_wrist")


def write_lerobot_v3(
    folder: Path,
    *,
    lengths: tuple[int, ...] = LENGTHS,
    info: Mapping[str, Any] | None = None,
    row: Mapping[str, Any] | None = None,
    columns: Mapping[str, Any] | None = None,
    first: int = 0,
    is_one_group: bool = False,
    text_column: str = "task",
) -> Path:
    """Episodes in one Parquet file and one video per camera; `row` are changes to each row of meta/episodes."""
    told = {
        "codebase_version": "v3.0",
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    }
    told = lerobot_info(len(lengths), **{**told, **(info or {})})
    for name in ("meta/episodes/chunk-000", "data/chunk-000"):
        (folder / name).mkdir(parents=True)
    (folder / "meta/info.json").write_text(json.dumps(told))
    pq.write_table(pa.table({"task_index": [0], text_column: [INSTRUCTION]}), folder / "meta/tasks.parquet")
    starts = np.concatenate([[0], np.cumsum(lengths)])
    rows, tables = [], []
    for number, length in enumerate(lengths):
        start, stop = int(starts[number]), int(starts[number + 1])
        places = {"data/chunk_index": 0, "data/file_index": 0, "dataset_from_index": start, "dataset_to_index": stop}
        for key in KEYS:
            places |= {f"videos/{key}/chunk_index": 0, f"videos/{key}/file_index": 0}
            places |= {f"videos/{key}/from_timestamp": start / 10, f"videos/{key}/to_timestamp": stop / 10}
        usual = {"episode_index": number, "tasks": [INSTRUCTION], "length": length, "stats/action/min": [0.0]}
        rows.append(usual | places | (row or {}))
        usual = lerobot_columns(first + number, rows=length, index=pa.array(np.arange(start, stop)))
        tables.append(pa.table(usual | {"episode_index": pa.array(np.full(length, number))} | (columns or {})))
    pq.write_table(pa.Table.from_pylist(rows), folder / "meta/episodes/chunk-000/file-000.parquet")
    file = folder / "data/chunk-000/file-000.parquet"
    with pq.ParquetWriter(file, tables[0].schema) as writer:
        for table in [pa.concat_tables(tables)] if is_one_group else tables:
            writer.write_table(table)
    for key in KEYS:
        if told["features"].get(key, {}).get("dtype") == "video":
            pictures = [picture(first + step) for step in range(int(starts[-1]))]
            write_video(folder / f"videos/{key}/chunk-000/file-000.mp4", pictures)
    return folder


def discover(folder: Path) -> Any:
    location = Location.of(str(folder))
    discovery = lerobot.discover(location)
    assert discovery is not None
    return location, discovery


def read(folder: Path, index: int = 0) -> Any:
    location, discovery = discover(folder)
    return lerobot.read(location, discovery.records[index])


def test_every_episode_is_a_record_of_the_files_that_it_shares(tmp_path):
    write_lerobot_v3(tmp_path)

    _, discovery = discover(tmp_path)

    assert [record.num_frames for record in discovery.records] == list(LENGTHS)
    assert {record.files for record in discovery.records} == {
        (
            "data/chunk-000/file-000.parquet",
            "videos/observation.images.base/chunk-000/file-000.mp4",
            "videos/observation.images.left_wrist/chunk-000/file-000.mp4",
        )
    }
    assert (discovery.robot, discovery.rate_hz, discovery.notes) == ("ur5e", 10.0, ())


@pytest.mark.parametrize("is_one_group", [False, True])
@pytest.mark.parametrize("index", range(3))
def test_an_episode_has_its_own_rows_and_its_own_stretch_of_the_video(tmp_path, index, is_one_group):
    write_lerobot_v3(tmp_path, is_one_group=is_one_group)
    start, length = sum(LENGTHS[:index]), LENGTHS[index]

    raw = read(tmp_path, index)

    assert raw.fields["index"].tolist() == list(range(start, start + length))
    np.testing.assert_allclose(raw.timestamp_T, np.arange(length) / 10, atol=1e-6)
    assert (raw.task, raw.rate_hz, raw.notes) == (INSTRUCTION, 10.0, ())
    for key in KEYS:
        frames = list(raw.pictures[key])
        errors = [
            [np.abs(frame.astype(int) - picture(start + step).astype(int)).mean() for step in range(length)]
            for frame in frames
        ]
        assert len(frames) == length
        assert [int(np.argmin(row)) for row in errors] == list(range(length))


def test_only_the_episodes_pictures_and_those_since_the_key_frame_are_decoded(tmp_path, monkeypatch):
    write_lerobot_v3(tmp_path, lengths=(300, 5))
    real, seen = video.Stretch.number, []
    monkeypatch.setattr(video.Stretch, "number", lambda self, time: seen.append(time) or real(self, time))
    raw = read(tmp_path, 1)
    seen.clear()

    assert len(list(raw.pictures[KEYS[0]])) == 5
    assert min(seen) >= 24.9  # libx264 puts a key frame every 250 pictures


def test_only_the_row_groups_of_the_episode_are_read(tmp_path, monkeypatch):
    write_lerobot_v3(tmp_path)
    asked = []
    real = pq.ParquetFile.read_row_groups
    monkeypatch.setattr(
        pq.ParquetFile,
        "read_row_groups",
        lambda self, groups, columns: asked.append(groups) or real(self, groups, columns=columns),
    )

    read(tmp_path, 1)

    assert asked == [[1]]


def test_a_text_in_the_index_of_pandas_is_found(tmp_path):
    write_lerobot_v3(tmp_path, text_column="__index_level_0__")
    assert read(tmp_path).instructions[0].text == INSTRUCTION


def test_a_missing_video_is_absent_with_its_path(tmp_path):
    write_lerobot_v3(tmp_path)
    (tmp_path / f"videos/{KEYS[0]}/chunk-000/file-000.mp4").unlink()

    raw = read(tmp_path, 2)

    assert raw.absent[KEYS[0]].reason == "missing_video"
    assert f"videos/{KEYS[0]}/chunk-000/file-000.mp4" in raw.absent[KEYS[0]].message
    assert set(raw.pictures) == {KEYS[1]}


def test_a_missing_parquet_file_is_a_problem_of_all_its_episodes(tmp_path):
    write_lerobot_v3(tmp_path)
    (tmp_path / "data/chunk-000/file-000.parquet").unlink()

    _, discovery = discover(tmp_path)

    assert [record.problem.reason for record in discovery.records] == ["missing_data"] * 3


def test_an_episode_that_is_promised_and_not_listed_is_a_problem(tmp_path):
    write_lerobot_v3(tmp_path, info={"total_episodes": 4})

    _, discovery = discover(tmp_path)

    assert [record.problem and record.problem.reason for record in discovery.records] == [None] * 3 + [
        "unlisted_episode"
    ]
    assert "promises 4 episodes, meta/episodes lists 3" in discovery.notes[0]


def test_an_episode_whose_rows_are_not_there_is_refused(tmp_path):
    write_lerobot_v3(tmp_path)
    table = pq.read_table(tmp_path / "data/chunk-000/file-000.parquet")
    changed = table.set_column(
        table.schema.names.index("episode_index"), "episode_index", pa.array([9] * table.num_rows)
    )
    pq.write_table(changed, tmp_path / "data/chunk-000/file-000.parquet")

    with pytest.raises(EpisodeError, match="found no row of episode 0") as caught:
        read(tmp_path)
    assert caught.value.reason == "missing_data"


@pytest.mark.parametrize(("shift", "index"), [(0.35, 2), (100.0, 0)])
def test_a_stretch_beyond_the_videos_end_names_both_counts(tmp_path, shift, index):
    write_lerobot_v3(tmp_path, row={f"videos/{KEYS[0]}/from_timestamp": shift + sum(LENGTHS[:index]) / 10})

    with pytest.raises(EpisodeError, match=f"expected {LENGTHS[index]} at 10 Hz") as caught:
        list(read(tmp_path, index).pictures[KEYS[0]])
    assert caught.value.reason == "frame_count_mismatch"


def test_a_video_with_a_hole_is_refused(tmp_path):
    write_lerobot_v3(tmp_path)
    file = tmp_path / f"videos/{KEYS[0]}/chunk-000/file-000.mp4"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        for step in range(15):
            frame = av.VideoFrame.from_ndarray(picture(step), format="rgb24")
            frame.pts = step + (step >= 2)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

    with pytest.raises(EpisodeError, match=r"found 2 pictures from 0\.000 s on without a gap") as caught:
        list(read(tmp_path).pictures[KEYS[0]])
    assert caught.value.reason == "frame_count_mismatch"


@pytest.mark.parametrize("told", [None, -1.0], ids=str)
def test_a_place_that_makes_no_sense_is_refused(tmp_path, told):
    write_lerobot_v3(tmp_path, row={f"videos/{KEYS[0]}/from_timestamp": told})

    with pytest.raises(EpisodeError, match="expected seconds into") as caught:
        read(tmp_path)
    assert caught.value.reason == "bad_metadata"


def test_pictures_in_the_parquet_file_are_those_of_the_episode(tmp_path):
    features = lerobot_info(3)["features"]
    features[KEYS[0]] = {"dtype": "image", "shape": [32, 48, 3]}
    jpegs = [encode_jpeg(picture(step)) for step in range(3)]
    columns = {KEYS[0]: pa.array([{"bytes": item, "path": None} for item in jpegs])}
    write_lerobot_v3(tmp_path, lengths=(3, 3), info={"features": features}, columns=columns)

    assert list(read(tmp_path, 1).pictures[KEYS[0]]) == jpegs


@pytest.mark.parametrize("byte", [0, -1])
def test_the_digest_knows_what_the_pictures_are_decoded_from(tmp_path, byte):
    """Pictures hang on all before them up to the key frame, which may lie in an earlier episode."""
    write_lerobot_v3(tmp_path)
    before = read(tmp_path, 1).digest
    file = tmp_path / "videos" / KEYS[0] / "chunk-000/file-000.mp4"
    content = bytearray(file.read_bytes())
    with av.open(str(file)) as container:
        earlier = [packet for packet in container.demux(video=0) if packet.pts is not None][: LENGTHS[0]]
    assert [packet.is_keyframe for packet in earlier] == [True] + [False] * (LENGTHS[0] - 1)
    content[earlier[byte].pos + earlier[byte].size - 1] ^= 1
    file.write_bytes(content)

    assert read(tmp_path, 1).digest != before


def test_the_digest_is_of_the_episode_and_not_of_its_place(tmp_path):
    write_lerobot_v3(tmp_path / "a", lengths=(5,))
    write_lerobot_v3(tmp_path / "b", lengths=(5, 5))
    write_lerobot_v3(tmp_path / "c", lengths=(5,), first=1)

    assert read(tmp_path / "a").digest == read(tmp_path / "a").digest
    digests = {read(tmp_path / "a").digest, read(tmp_path / "b", 1).digest, read(tmp_path / "c").digest}
    assert len(digests) == 3


def test_a_cut_parquet_file_is_the_episodes_error(tmp_path):
    write_lerobot_v3(tmp_path)
    file = tmp_path / "data/chunk-000/file-000.parquet"
    file.write_bytes(file.read_bytes()[:-100])

    with pytest.raises(EpisodeError, match="not a whole Parquet file") as caught:
        read(tmp_path)
    assert caught.value.reason == "unreadable_parquet"


def test_a_cut_video_is_the_episodes_error(tmp_path):
    write_lerobot_v3(tmp_path)
    file = tmp_path / f"videos/{KEYS[0]}/chunk-000/file-000.mp4"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])

    with pytest.raises(EpisodeError, match="cannot be decoded") as caught:
        read(tmp_path)
    assert caught.value.reason == "bad_video"


def test_sound_in_a_shared_video_is_named_and_not_stored(tmp_path):
    write_lerobot_v3(tmp_path)
    frames = [picture(step) for step in range(sum(LENGTHS))]
    write_video(tmp_path / f"videos/{KEYS[0]}/chunk-000/file-000.mp4", frames, has_sound=True)

    assert read(tmp_path, 1).not_stored == {f"{KEYS[0]}: audio": LENGTHS[1]}


def test_row_groups_that_say_they_are_huge_are_refused(tmp_path, monkeypatch):
    write_lerobot_v3(tmp_path)
    monkeypatch.setattr(parquet_columns, "MAX_COLUMN_BYTES", 100)

    with pytest.raises(EpisodeError, match="expected 100 at most") as caught:
        read(tmp_path)
    assert caught.value.reason == "too_large"


def test_pictures_that_say_they_are_huge_are_refused(tmp_path, monkeypatch):
    write_lerobot_v3(tmp_path)
    monkeypatch.setattr("schema.picture.MAX_PIXELS", 1000)

    with pytest.raises(EpisodeError, match="picture of 32 × 48") as caught:
        read(tmp_path)
    assert caught.value.reason == "absurd_size"


def test_a_path_that_leads_out_of_the_dataset_finds_nothing(tmp_path):
    write_lerobot_v3(tmp_path / "a", info={"data_path": "../../{chunk_index}/{file_index}"})

    _, discovery = discover(tmp_path / "a")

    assert {record.problem.reason for record in discovery.records} == {"missing_data"}


@pytest.mark.parametrize(
    "name", ["data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet", "meta/tasks.parquet"]
)
def test_a_link_out_of_the_dataset_is_refused(tmp_path, name):
    write_lerobot_v3(tmp_path / "a")
    file = tmp_path / "a" / name
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(EpisodeError, match="leads out of its source"):
        read(tmp_path / "a")


@pytest.mark.parametrize("harm", [lambda file: file.unlink(), lambda file: file.write_bytes(b"PAR1")])
def test_a_list_of_episodes_that_is_gone_or_broken_names_itself(tmp_path, harm):
    write_lerobot_v3(tmp_path)
    harm(tmp_path / "meta/episodes/chunk-000/file-000.parquet")

    with pytest.raises(SourceError, match="meta/episodes"):
        discover(tmp_path)


def test_real_so101_logs_are_six_episodes_of_one_file(real_logs):
    location, discovery = discover(real_logs / "so101_lerobot_v30")

    raw = lerobot.read(location, discovery.records[5])

    assert [record.num_frames for record in discovery.records] == [383, 386, 379, 382, 90, 162]
    assert next(iter(raw.pictures["observation.images.wrist"])).shape == (360, 640, 3)
    assert discovery.notes == ()


def test_real_piper_logs_lack_every_video(real_logs):
    location, discovery = discover(real_logs / "piper_lerobot_v30_no_video")

    assert len(discovery.records) == 55
    assert {key: problem.reason for key, problem in lerobot.read(location, discovery.records[54]).absent.items()} == {
        "observation.images.front": "missing_video",
        "observation.images.wrist": "missing_video",
    }
