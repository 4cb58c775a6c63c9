"""LeRobot v2.0 and v2.1: whole datasets, and what is missing, cut or contradictory in them."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest.formats import columns as parquet_columns
from ingest.formats import lerobot, parquet_pages
from ingest.location import Location
from schema.errors import EpisodeError, SourceError
from schema.picture import encode_jpeg
from tests.ingest.writers import INSTRUCTION, T, lerobot_info, picture, png, write_lerobot, write_video


def discover(folder):
    location = Location.of(str(folder))
    discovery = lerobot.discover(location)
    assert discovery is not None
    return location, discovery


def read(folder, index=0):
    location, discovery = discover(folder)
    return lerobot.read(location, discovery.records[index])


def test_every_listed_episode_is_a_record_with_all_its_files(tmp_path):
    write_lerobot(tmp_path)

    _, discovery = discover(tmp_path)

    assert [record.index for record in discovery.records] == [0, 1]
    assert discovery.records[1].files == (
        "data/chunk-000/episode_000001.parquet",
        "videos/chunk-000/observation.images.base/episode_000001.mp4",
        "videos/chunk-000/observation.images.left_wrist/episode_000001.mp4",
    )
    assert discovery.records[1].num_frames == T
    assert (discovery.robot, discovery.rate_hz, discovery.notes) == ("ur5e", 10.0, ())


def test_names_of_dimensions_are_found_in_lists_and_in_mappings(tmp_path):
    write_lerobot(tmp_path)

    _, discovery = discover(tmp_path)

    fields = {field.path: field.names for field in discovery.fields}
    assert fields["observation.state"] == fields["action"]
    assert fields["action"][-1] == "gripper"
    assert set(fields) == {"observation.state", "action"}


def test_an_episode_has_numbers_time_and_words(tmp_path):
    write_lerobot(tmp_path)

    raw = read(tmp_path)

    assert raw.fields["action"].shape == (T, 7)
    assert raw.fields["action"].dtype == np.float32
    assert raw.fields["task_index"].shape == (T,)
    np.testing.assert_allclose(raw.timestamp_T, np.arange(T) / 10, atol=1e-6)
    assert (raw.task, raw.instructions[0].text, raw.rate_hz) == (INSTRUCTION, INSTRUCTION, 10.0)


def test_video_frames_are_rgb_in_order(tmp_path):
    write_lerobot(tmp_path)

    frames = list(read(tmp_path).pictures["observation.images.base"])

    assert len(frames) == T
    error = np.abs(frames[3].astype(int) - picture(3).astype(int)).mean()
    assert error < 12  # H.264 at default quality; red for blue would be 70 and more


def test_a_fractional_rate_stays_fractional(tmp_path):
    write_lerobot(tmp_path, info={"fps": 12.5})
    assert read(tmp_path).rate_hz == 12.5


def test_a_missing_video_is_absent_with_its_path(tmp_path):
    write_lerobot(tmp_path)
    (tmp_path / "videos/chunk-000/observation.images.base/episode_000000.mp4").unlink()

    raw = read(tmp_path)

    assert raw.absent["observation.images.base"].reason == "missing_video"
    assert "observation.images.base/episode_000000.mp4" in raw.absent["observation.images.base"].message
    assert set(raw.pictures) == {"observation.images.left_wrist"}


def test_a_camera_without_any_video_is_noted_and_not_offered(tmp_path):
    write_lerobot(tmp_path)
    for file in (tmp_path / "videos/chunk-000/observation.images.left_wrist").iterdir():
        file.unlink()

    _, discovery = discover(tmp_path)

    assert [camera.path for camera in discovery.cameras] == ["observation.images.base"]
    assert "'observation.images.left_wrist' has no video" in discovery.notes[0]


def test_a_missing_parquet_file_is_a_problem_record(tmp_path):
    write_lerobot(tmp_path)
    (tmp_path / "data/chunk-000/episode_000001.parquet").unlink()

    _, discovery = discover(tmp_path)

    assert discovery.records[0].problem is None
    assert discovery.records[1].problem.reason == "missing_data"
    with pytest.raises(EpisodeError, match="has no Parquet file"):
        read(tmp_path, 1)


def test_promised_episodes_that_nobody_lists_are_problem_records(tmp_path):
    rows = [{"episode_index": 0, "tasks": [INSTRUCTION], "length": T}]
    write_lerobot(tmp_path, rows=rows, info={"total_episodes": 3})

    _, discovery = discover(tmp_path)

    reasons = [record.problem and record.problem.reason for record in discovery.records]
    assert reasons == [None, "unlisted_episode", "missing_data"]
    assert "promises 3 episodes, episodes.jsonl lists 1" in discovery.notes[0]


def test_files_of_no_episode_are_noted(tmp_path):
    write_lerobot(tmp_path)
    file = tmp_path / "data/chunk-000/episode_000001.parquet"
    (tmp_path / "data/chunk-000/episode_000007.parquet").write_bytes(file.read_bytes())

    _, discovery = discover(tmp_path)

    assert len(discovery.records) == 2
    assert "episode_000007.parquet" in discovery.notes[0]


@pytest.mark.parametrize("frames", [T - 2, T + 2])
def test_a_video_of_another_length_names_both_counts(tmp_path, frames):
    write_lerobot(tmp_path, video_frames=frames)

    with pytest.raises(EpisodeError, match=f"found {frames} pictures in the video, expected {T}") as caught:
        list(read(tmp_path).pictures["observation.images.base"])
    assert caught.value.reason == "frame_count_mismatch"


def test_a_cut_video_is_the_episodes_error(tmp_path):
    write_lerobot(tmp_path)
    file = tmp_path / "videos/chunk-000/observation.images.base/episode_000000.mp4"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])

    with pytest.raises(EpisodeError) as caught:
        list(read(tmp_path).pictures["observation.images.base"])
    assert caught.value.reason == "bad_video"


def test_a_cut_parquet_file_is_the_episodes_error(tmp_path):
    write_lerobot(tmp_path)
    file = tmp_path / "data/chunk-000/episode_000000.parquet"
    file.write_bytes(file.read_bytes()[:-100])

    with pytest.raises(EpisodeError, match="not a whole Parquet file") as caught:
        read(tmp_path)
    assert caught.value.reason == "unreadable_parquet"


def test_a_small_file_of_very_many_equal_numbers_is_refused_before_they_are_made(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_columns, "MAX_COLUMN_BYTES", 1 << 20)
    write_lerobot(tmp_path)
    path = tmp_path / "data/chunk-000/episode_000000.parquet"
    pq.write_table(pa.table({"action": pa.array(np.zeros(500_000))}), path)
    assert path.stat().st_size < 10_000

    with pytest.raises(EpisodeError, match="row groups of 4000000 bytes") as caught:
        read(tmp_path)
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize("name", ["action", "observation.images.base"])
def test_a_page_of_numbers_or_pictures_that_claims_too_much_is_refused_unread(tmp_path, monkeypatch, name):
    monkeypatch.setattr(parquet_pages, "MAX_PAGE_BYTES", 1 << 10)
    write_lerobot(tmp_path)
    info = json.loads((tmp_path / "meta/info.json").read_text())
    info["features"]["observation.images.base"]["dtype"] = "image"
    (tmp_path / "meta/info.json").write_text(json.dumps(info))
    wide = pa.array(np.zeros(2000)) if name == "action" else pa.array([{"bytes": bytes(2000), "path": ""}])
    pq.write_table(pa.table({name: wide}), tmp_path / "data/chunk-000/episode_000000.parquet", use_dictionary=False)

    with pytest.raises(EpisodeError, match=f"a page of '{name}.* unpacks to") as caught:
        read(tmp_path)
    assert caught.value.reason == "absurd_size"


def test_rows_of_different_length_are_a_bad_column(tmp_path):
    ragged = pa.array([[1.0], *[[1.0, 2.0]] * (T - 1)], pa.list_(pa.float32()))
    write_lerobot(tmp_path, columns={"action": ragged})

    with pytest.raises(EpisodeError, match=r"'action' has 11 numbers in 6 rows"):
        read(tmp_path)


def test_sound_in_a_video_is_named_as_not_stored(tmp_path):
    write_lerobot(tmp_path)
    key = "observation.images.base"
    write_video(tmp_path / f"videos/chunk-000/{key}/episode_000000.mp4", [picture()] * T, has_sound=True)

    assert read(tmp_path).not_stored == {f"{key}: audio": T}


def test_sound_files_are_named_as_not_stored(tmp_path):
    features = lerobot_info(2)["features"] | {"observation.audio.mic": {"dtype": "audio", "shape": [1]}}
    write_lerobot(tmp_path, info={"features": features})

    _, discovery = discover(tmp_path)

    assert read(tmp_path).not_stored == {"observation.audio.mic": T}
    assert "observation.audio.mic" not in {item.path for item in discovery.fields}


def test_a_depth_video_is_named_as_not_stored(tmp_path):
    info = lerobot_info(2)
    info["features"]["observation.images.base"]["info"]["video.is_depth_map"] = True
    write_lerobot(tmp_path, info={"features": info["features"]})

    raw = read(tmp_path)

    assert raw.not_stored == {"observation.images.base": T}
    assert "observation.images.base" not in raw.pictures


def test_picture_columns_give_jpeg_bytes_and_decoded_png(tmp_path):
    features = lerobot_info(2)["features"] | {
        "observation.images.base": {"dtype": "image", "shape": [32, 48, 3]},
        "observation.images.left_wrist": {"dtype": "image", "shape": [32, 48, 3]},
    }
    jpegs = [encode_jpeg(picture(step)) for step in range(T)]
    columns = {
        "observation__images__base": [{"bytes": item, "path": None} for item in jpegs],
        "observation__images__left_wrist": [{"bytes": png(picture(step)), "path": "x.png"} for step in range(T)],
    }
    write_lerobot(tmp_path, info={"features": features}, columns=columns)

    raw = read(tmp_path)

    assert list(raw.pictures["observation.images.base"]) == jpegs
    np.testing.assert_array_equal(list(raw.pictures["observation.images.left_wrist"])[1], picture(1))
    assert raw.not_stored == {}


def test_pictures_kept_by_path_are_fetched_from_the_dataset(tmp_path):
    features = lerobot_info(1)["features"] | {"observation.images.base": {"dtype": "image", "shape": [32, 48, 3]}}
    columns = {"observation__images__base": [{"bytes": None, "path": f"images/{step}.jpg"} for step in range(T)]}
    write_lerobot(tmp_path, num_episodes=1, info={"features": features}, columns=columns)
    (tmp_path / "images").mkdir()
    for step in range(T - 1):
        (tmp_path / f"images/{step}.jpg").write_bytes(encode_jpeg(picture(step)))

    pictures = iter(read(tmp_path).pictures["observation.images.base"])

    assert next(pictures) == encode_jpeg(picture(0))
    with pytest.raises(EpisodeError, match="no picture there"):
        list(pictures)


def test_tasks_that_change_within_an_episode_are_segments(tmp_path):
    rows = [{"episode_index": 0, "tasks": ["reach", "grasp"], "length": T}]
    columns = {"task_index": np.array([0, 0, 1, 1, 1, 1])}
    write_lerobot(tmp_path, num_episodes=1, rows=rows, columns=columns, tasks=("reach", "grasp"))

    found = [(item.text, item.start, item.stop) for item in read(tmp_path).instructions]

    assert found == [("reach", 0, 2), ("grasp", 2, None)]


def test_annotation_columns_decide_and_verdicts_are_no_instructions(tmp_path):
    rows = [{"episode_index": 0, "tasks": ["pick the pear", "valid"], "length": T}]
    columns = {
        "annotation__human__action__task_description": np.full(T, 0),
        "annotation__human__validity": np.full(T, 1),
        "task_index": np.full(T, 1),
    }
    write_lerobot(tmp_path, num_episodes=1, rows=rows, columns=columns, tasks=("pick the pear", "valid"))

    raw = read(tmp_path)

    assert [item.text for item in raw.instructions] == ["pick the pear"]
    assert raw.notes == ()


def test_a_text_that_the_episode_does_not_list_gives_way_to_the_listed_one_with_a_note(tmp_path):
    rows = [{"episode_index": 0, "tasks": ["pick the pear"], "length": T}]
    write_lerobot(tmp_path, num_episodes=1, rows=rows, tasks=("pick the squash",))

    raw = read(tmp_path)

    assert raw.task == "pick the pear"
    assert "pick the squash" in raw.notes[0]


def test_without_tasks_file_the_listed_task_is_the_instruction(tmp_path):
    write_lerobot(tmp_path)
    (tmp_path / "meta/tasks.jsonl").unlink()
    assert read(tmp_path).task == INSTRUCTION


def test_success_task_name_and_simulation_are_taken_where_they_are_said(tmp_path):
    rows = [{"episode_index": 0, "tasks": [INSTRUCTION], "length": T, "success": False, "task": "cup", "seed": 7}]
    write_lerobot(tmp_path, num_episodes=1, rows=rows, info={"simulated": True})

    raw = read(tmp_path)

    assert (raw.success, raw.task, raw.is_simulated) == (False, "cup", True)
    assert raw.notes == ("episodes.jsonl: seed = 7",)


def test_a_length_that_the_data_denies_is_noted(tmp_path):
    rows = [{"episode_index": 0, "tasks": [INSTRUCTION], "length": T + 1}]
    write_lerobot(tmp_path, num_episodes=1, rows=rows)
    assert read(tmp_path).notes == (f"episodes.jsonl says {T + 1} frames, the data has {T}",)


@pytest.mark.parametrize("changed", ["data/chunk-000/episode_000000.parquet", "meta/tasks.jsonl", "meta/info.json"])
def test_the_digest_is_of_data_videos_and_instruction_alone(tmp_path, changed):
    write_lerobot(tmp_path)
    before = read(tmp_path).digest
    file = tmp_path / changed
    if changed.endswith("info.json"):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"fps": 20}))
    elif changed.endswith("tasks.jsonl"):
        file.write_text(file.read_text().replace("cup", "mug"))
        rows = tmp_path / "meta/episodes.jsonl"
        rows.write_text(rows.read_text().replace("cup", "mug"))
    else:
        file.write_bytes((tmp_path / "data/chunk-000/episode_000001.parquet").read_bytes())

    assert (read(tmp_path).digest == before) == changed.endswith("info.json")


def test_another_version_says_what_is_supported(tmp_path):
    write_lerobot(tmp_path, info={"codebase_version": "v1.6"})

    with pytest.raises(SourceError, match=r"found LeRobot v1\.6, expected v2\.0, v2\.1, v3\.0"):
        discover(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fps": None}, "fps = None"),
        ({"fps": 0}, "fps = 0"),
        ({"fps": -10}, "fps = -10"),
        ({"features": {"action": 7}}, "the feature 'action' = 7"),
        ({"features": []}, r"features = \[\]"),
        ({"data_path": "data/{nothing}.parquet"}, "does not format"),
    ],
)
def test_an_info_file_that_makes_no_sense_says_where(tmp_path, change, message):
    write_lerobot(tmp_path)
    file = tmp_path / "meta/info.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))

    with pytest.raises(SourceError, match=message):
        discover(tmp_path)


def test_an_info_file_that_is_no_table_says_so(tmp_path):
    write_lerobot(tmp_path)
    (tmp_path / "meta/info.json").write_text("[1]")

    with pytest.raises(SourceError, match=r"info\.json holds a list"):
        discover(tmp_path)


def test_a_broken_line_is_named(tmp_path):
    write_lerobot(tmp_path)
    with (tmp_path / "meta/episodes.jsonl").open("a") as file:
        file.write('{"episode_index": 2, "len')

    with pytest.raises(SourceError, match="line 3 is not valid JSON"):
        discover(tmp_path)


def test_datasets_of_one_robot_are_taken_together_and_of_two_are_refused(tmp_path):
    write_lerobot(tmp_path / "a")
    write_lerobot(tmp_path / "b")

    _, discovery = discover(tmp_path)
    assert [record.index for record in discovery.records] == [0, 1, 2, 3]

    write_lerobot(tmp_path / "c", info={"robot_type": "franka"})
    with pytest.raises(SourceError, match="2 robots"):
        discover(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"fps": 0},
        {"fps": float("nan")},
        {"robot_type": 5},
        {"chunks_size": 0.5},
        {"features": {"action": [7]}},
        {"features": {"action": {"dtype": "float32", "shape": ["7"]}}},
        {"features": {"action": {"dtype": "video", "shape": [7], "info": 3}}},
        {"total_episodes": 99_999_999_999},
    ],
)
def test_a_description_that_lerobot_would_not_write_is_refused_by_name(tmp_path, changes):
    write_lerobot(tmp_path)
    (tmp_path / "meta/info.json").write_text(json.dumps(lerobot_info(2, **changes)))
    with pytest.raises(SourceError, match=r"info\.json"):
        lerobot.discover(Location.of(str(tmp_path)))


def test_a_description_that_is_no_object_is_refused_by_name(tmp_path):
    write_lerobot(tmp_path)
    (tmp_path / "meta/info.json").write_text("[]")
    with pytest.raises(SourceError, match=r"holds a list.*info\.json"):
        lerobot.discover(Location.of(str(tmp_path)))


@pytest.mark.parametrize("name", ["episodes", "tasks"])
@pytest.mark.parametrize(
    "line",
    [
        b"\xff",
        b"{",
        b'{"task_index": "", "episode_index": [], "task": "a"}',
        b'{"task_index": 0, "episode_index": 0, "task": "\\ud800"}',
    ],
)
def test_a_list_that_is_broken_is_refused_before_anything_is_planned(tmp_path, name, line):
    write_lerobot(tmp_path)
    (tmp_path / f"meta/{name}.jsonl").write_bytes(line)
    with pytest.raises(SourceError, match=rf"{name}\.jsonl"):
        lerobot.discover(Location.of(str(tmp_path)))


def test_a_number_that_json_has_no_word_for_stays_out_of_the_plan(tmp_path):
    rows = [{"episode_index": 0, "tasks": [INSTRUCTION], "length": T, "quality": float("nan")}]
    write_lerobot(tmp_path, num_episodes=1, rows=rows)

    record = lerobot.discover(Location.of(str(tmp_path))).records[0]

    assert "quality" not in record.meta["row"]


def test_a_column_of_pictures_that_cannot_be_unpacked_is_named(tmp_path):
    kind = {"dtype": "image", "shape": [32, 48, 3]}
    column = [{"bytes": encode_jpeg(picture(step)), "path": None} for step in range(T)]
    features = {"observation.images.base": kind}
    write_lerobot(tmp_path, num_episodes=1, info={"features": features}, columns={"observation__images__base": column})
    file = tmp_path / "data/chunk-000/episode_000000.parquet"
    content = file.read_bytes()
    place = content.index(b"\xff\xd8\xff")
    file.write_bytes(content[: place - 60] + b"\xff" * 50 + content[place - 10 :])

    with pytest.raises(EpisodeError) as caught:
        list(read(tmp_path).pictures["observation.images.base"])

    assert caught.value.reason == "unreadable_parquet"


def test_a_column_of_pictures_that_is_not_there_is_named(tmp_path):
    features = {"observation.images.base": {"dtype": "image", "shape": [32, 48, 3]}}
    write_lerobot(tmp_path, num_episodes=1, info={"features": features})

    with pytest.raises(EpisodeError, match=r"no column 'observation\.images\.base'") as caught:
        list(read(tmp_path).pictures["observation.images.base"])

    assert caught.value.reason == "missing_field"
