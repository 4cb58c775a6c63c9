"""Verification: a clean lake has no problems, and every planted fault is found and named, never by a traceback."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schema.commit import Bundle, commit
from schema.episode import Instruction
from schema.lake import Lake
from schema.picture import encode_jpeg
from schema.shards import ShardWriter, file_digest, shard_digest
from schema.tar import BLOCK, headers
from schema.verify import verify
from tests.lakes import catalogue_row, make_episode, store


def two_episodes():
    return [
        make_episode(0, num_frames=3, image_size=16),
        make_episode(1, embodiment="franka", num_frames=2, image_size=16),
    ]


class Forger:
    """Makes a lake of one shard whose files and rows were changed, and whose name fits the changed files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.episodes = two_episodes()

    def lake(self, *, tar=None, parquet=None, rows=None) -> Lake:
        with ShardWriter(self.folder / "spool") as writer:
            for episode in self.episodes:
                writer.add(episode)
            shard = writer.finish()
        if tar is not None:
            shard.tar.write_bytes(tar(bytearray(shard.tar.read_bytes())))
        if parquet is not None:
            file = pq.ParquetFile(shard.parquet)
            groups = [parquet(file.read_row_group(group)) for group in range(file.num_row_groups)]
            with pq.ParquetWriter(shard.parquet, groups[0].schema) as sink:
                for group in groups:
                    sink.write_table(group)
        name = f"shards/tiny/{shard_digest(file_digest(shard.tar), file_digest(shard.parquet))}"
        lake = Lake.open_or_create(str(self.folder / "lake"))
        lake.upload(shard.tar, f"{name}.tar")
        lake.upload(shard.parquet, f"{name}.parquet")
        common = {"conversion": "c1", "shard": name, "ingest_run": "test"}
        found = [row | common | {"source_key": str(number)} for number, row in enumerate(shard.rows)]
        commit(lake, [Bundle(bundle_id="b1", episodes=tuple(rows(found) if rows else found))])
        return lake

    def first_place(self, camera="base"):
        """(offset, length) of the first episode's first picture, and its member's name."""
        with ShardWriter(self.folder / "probe") as writer:
            writer.add(self.episodes[0])
            shard = writer.finish()
        place = pq.read_table(shard.parquet)[f"camera.{camera}"][0].as_py()
        return place["offset"], place["length"]


@pytest.fixture
def forger(tmp_path):
    return Forger(tmp_path)


def only(problems):
    """The one problem, without its shard."""
    assert len(problems) == 1, problems
    shard, _, problem = problems[0].partition(": ")
    assert shard.startswith("shards/tiny/")
    return problem


# ── clean lakes ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_clean_lake_has_no_problems_and_everything_is_counted(lake, tmp_path):
    store(lake, tmp_path, two_episodes(), bundle_id="b1")
    store(lake, tmp_path, [make_episode(7, num_frames=4)], bundle_id="b2")
    told = []
    found = verify(lake, lambda done, total: told.append((done, total)))
    assert found.problems == ()
    assert (found.shards, found.episodes, found.frames, found.pictures) == (2, 3, 9, 18)
    shards = [file for file in lake.fs.find(lake.path("shards")) if file.endswith((".tar", ".parquet"))]
    assert found.size_bytes == sum(lake.fs.size(file) for file in shards)
    assert told == [(0, 2), (1, 2), (2, 2)]


def test_an_empty_lake_is_clean(local_lake):
    assert verify(local_lake).problems == ()
    assert verify(local_lake).frames == 0


def test_a_superseded_episode_is_verified_too(local_lake, tmp_path):
    store(local_lake, tmp_path, [make_episode(0, num_frames=2)], bundle_id="b1")
    store(local_lake, tmp_path, [make_episode(0, num_frames=2, image_size=16)], bundle_id="b2", conversion="c2")
    assert verify(local_lake).episodes == 2
    old = local_lake.scan("episodes").filter(conversion="c1").collect()["shard"].item()
    local_lake.fs.rm_file(local_lake.path(f"{old}.tar"))
    assert "is missing" in only(verify(local_lake).problems)


def test_extras_of_every_kind_are_clean(local_lake, tmp_path):
    first, second = make_episode(0, num_frames=3), make_episode(1, num_frames=2)
    first = replace(
        first,
        extras={
            "matrix": np.arange(27, dtype=np.float32).reshape(3, 3, 3),
            "holes": np.array([np.nan, np.inf, 1.5]),
            "ticks": np.arange(3) + 2**60 + 1,
            "flag": np.array([True, False, True]),
            "empty": np.zeros((3, 0)),
            "half": np.arange(3, dtype=np.float16),
        },
        instructions=(Instruction(text="a", stop=1), Instruction(text="b", start=2)),
    )
    second = replace(second, extras={"ticks": np.array([0.5, 1.5]), "matrix": np.zeros(2), "flag": np.arange(2)})
    store(local_lake, tmp_path, [first, second])
    assert verify(local_lake).problems == ()


def test_signals_that_lie_in_memory_column_by_column_are_clean(local_lake, tmp_path):
    episode = make_episode(0, num_frames=50, image_size=16)
    columns = {name: np.asfortranarray(values * 1e3 / 7) for name, values in episode.signals.items()}
    store(local_lake, tmp_path, [replace(episode, signals=columns)])
    assert verify(local_lake).problems == ()


# ── broken bytes ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def small_lake(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verify")
    lake = Lake.open_or_create(str(folder / "lake"))
    store(lake, folder, [make_episode(0, num_frames=2, image_size=16)])
    return lake


@pytest.mark.parametrize("kind", ["tar", "parquet"])
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_one_changed_byte_anywhere_is_found(small_lake, kind, where, flip):
    (file,) = (Path(path) for path in small_lake.fs.find(small_lake.path("shards")) if path.endswith(kind))
    clean = file.read_bytes()
    broken = bytearray(clean)
    broken[int(where * len(clean))] ^= flip
    try:
        file.write_bytes(broken)
        problems = verify(small_lake).problems
    finally:
        file.write_bytes(clean)
    assert any("digest" in problem for problem in problems)
    assert all(problem.startswith(f"shards/tiny/{file.stem}: ") for problem in problems)


@pytest.mark.parametrize("kind", ["tar", "parquet"])
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.8])
def test_a_truncated_file_is_found(small_lake, kind, kept):
    (file,) = (Path(path) for path in small_lake.fs.find(small_lake.path("shards")) if path.endswith(kind))
    clean = file.read_bytes()
    try:
        file.write_bytes(clean[: int(kept * len(clean))])
        problems = verify(small_lake).problems
    finally:
        file.write_bytes(clean)
    assert any("digest" in problem for problem in problems)
    assert len(problems) > 1


def test_a_changed_byte_is_found_on_s3(s3_lake_uri, tmp_path):
    lake = Lake.open_or_create(s3_lake_uri)
    store(lake, tmp_path, two_episodes())
    shard = lake.scan("episodes").collect()["shard"][0]
    content = bytearray(lake.read(f"{shard}.tar"))
    content[len(content) // 2] ^= 1
    lake.write(f"{shard}.tar", bytes(content))
    assert "digest" in verify(lake).problems[0]


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_a_missing_file_is_named(local_lake, tmp_path, kind):
    store(local_lake, tmp_path, two_episodes())
    shard = local_lake.scan("episodes").collect()["shard"][0]
    local_lake.fs.rm_file(local_lake.path(f"{shard}.{kind}"))
    assert f"{shard}.{kind} is missing" in only(verify(local_lake).problems)


def test_one_broken_shard_does_not_hide_the_others(local_lake, tmp_path):
    for number in range(3):
        store(local_lake, tmp_path, [make_episode(number, num_frames=2)], bundle_id=f"b{number}")
    shards = sorted(local_lake.scan("episodes").collect()["shard"])
    for shard in shards[:2]:
        local_lake.fs.rm_file(local_lake.path(f"{shard}.tar"))
    assert [problem.split(":")[0] for problem in verify(local_lake).problems] == shards[:2]


# ── rows that lie ──────────────────────────────────────────────────────────────────────────────────────────────


def change_first(**changes):
    return lambda rows: [rows[0] | changes, *rows[1:]]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"num_frames": 4}, "3 Parquet rows, the catalogue says 4"),
        ({"first_row": 1}, "its first row in the Parquet is 0, the catalogue says 1"),
        ({"moments": []}, "the moments recomputed from the Parquet differ"),
        ({"tar_start": 512}, "of the tar, the catalogue says 512 to"),
        ({"camera_bytes": []}, "bytes, the catalogue says {}"),
        ({"row_group": 9}, "cannot be read: ArrowInvalid"),
        ({"row_group": None}, "cannot be read: TypeError"),
        ({"row_group": 1}, "row group 1 holds another episode"),
    ],
)
def test_a_row_that_lies_is_found(forger, changes, problem):
    found = only(verify(forger.lake(rows=change_first(**changes))).problems)
    assert found.startswith(f"episode {forger.episodes[0].episode_id}: ")
    assert problem in found


def test_one_wrong_sum_is_found(forger):
    def wrong(rows):
        rows[0]["moments"][0]["sum"][0] += 1e-9
        return rows

    assert "moments" in only(verify(forger.lake(rows=wrong)).problems)


def test_rows_that_were_swapped_are_found(forger):
    def swapped(rows):
        groups = [row["row_group"] for row in rows]
        return [row | {"row_group": group} for row, group in zip(rows, reversed(groups), strict=True)]

    problems = verify(forger.lake(rows=swapped)).problems
    assert len(problems) == 2
    assert all("holds another episode" in problem for problem in problems)


def test_a_camera_that_the_tar_lacks_is_found_in_each_frame(forger):
    problems = verify(forger.lake(rows=change_first(cameras=["base", "left_wrist", "right_wrist"]))).problems
    assert sum("expected ['base.jpg', 'json', 'left_wrist.jpg', 'right_wrist.jpg']" in found for found in problems) == 3


@pytest.mark.parametrize("field", ["embodiment", "source", "task", "instruction"])
def test_a_row_that_disagrees_with_the_frames_is_found(forger, field):
    changes = {"instructions": ["another"]} if field == "instruction" else {field: "another"}
    problems = verify(forger.lake(rows=change_first(**changes))).problems
    assert len(problems) == 3
    assert all(problem.endswith(f"the tar's JSON and the catalogue disagree about {field}") for problem in problems)


def test_an_episode_with_two_rows_is_found(local_lake, tmp_path):
    store(local_lake, tmp_path, [make_episode(0, num_frames=2)])
    row = local_lake.scan("episodes").collect().to_arrow()
    from deltalake import write_deltalake  # noqa: PLC0415 - past the protocol, on purpose

    write_deltalake(local_lake.table("episodes"), row, mode="append")
    (problem,) = verify(local_lake).problems
    assert problem.startswith("catalogue: episode ")
    assert "has 2 rows of conversion c1" in problem


def test_a_row_without_files_is_found(local_lake):
    commit(local_lake, [Bundle(bundle_id="b1", episodes=(catalogue_row("e1", shard="shards/tiny/none"),))])
    assert "shards/tiny/none.tar is missing" in only(verify(local_lake).problems)


# ── files that lie, under a fitting name ───────────────────────────────────────────────────────────────────────


def test_a_picture_of_another_size_is_found(forger):
    first = forger.episodes[0]
    lying = tuple(replace(picture, width=8) for picture in first.cameras["base"])
    forger.episodes[0] = replace(first, cameras={**first.cameras, "base": lying})
    problems = verify(forger.lake()).problems
    assert len(problems) == 3
    assert all("base: decodes to (16, 16), the Parquet says (16, 8)" in problem for problem in problems)


def test_a_picture_that_is_none_is_found(forger):
    offset, length = forger.first_place()

    def spoiled(tar):
        tar[offset : offset + length] = bytes(length)
        return tar

    assert "frame 0: base: a JPEG of" in only(verify(forger.lake(tar=spoiled)).problems)


def test_another_picture_in_the_place_of_one_is_found_by_its_checksum(forger):
    offset, length = forger.first_place()
    other = encode_jpeg(np.zeros((16, 16, 3), np.uint8))
    room = length - len(other) - 2  # for a comment
    assert room >= 2

    def swapped(tar):
        tar[offset : offset + length] = other[:2] + b"\xff\xfe" + room.to_bytes(2) + bytes(room - 2) + other[2:]
        return tar

    problem = only(verify(forger.lake(tar=swapped)).problems)
    assert re.search("frame 0: base: its checksum is 0x[0-9a-f]{8}, the Parquet says 0x[0-9a-f]{8}$", problem)


def test_a_renamed_member_is_found(forger):
    offset, length = forger.first_place()
    name = f"{forger.episodes[0].episode_id}-000000.front.jpg"

    def renamed(tar):
        tar[offset - BLOCK : offset] = headers([name], [length])
        return tar

    problems = verify(forger.lake(tar=renamed)).problems
    assert any("frame 0: the tar holds ['front.jpg', 'json', 'left_wrist.jpg']" in problem for problem in problems)


def test_a_sample_that_is_gone_is_found(forger):
    offset, _ = forger.first_place()

    def cut(tar):
        return tar[: offset - BLOCK] + bytes(2 * BLOCK)

    problems = verify(forger.lake(tar=cut)).problems
    assert any("the tar is empty" in problem for problem in problems)
    assert sum("has no sample" in problem for problem in problems) == 5


@pytest.mark.parametrize(
    ("told", "lie", "named"),
    [
        (b'"frame":1', b'"frame":7', "the Parquet disagree about frame"),
        (b'"timestamp":0.05', b'"timestamp":0.06', "the Parquet disagree about timestamp"),
        (b'"action.gripper":[0.', b'"action.gripper":[7.', "the Parquet disagree about action.gripper"),
        (
            b'"action.gripper":',
            b'"action.grippeR":',
            "disagree about action.grippeR, action.gripper",
        ),
        (b'{"embodiment":"ur5e"', b'["embodiment","ur5e"', "cannot be read: JSONDecodeError"),
        (b'"values":', b'"valves":', "cannot be read: KeyError: 'values'"),
    ],
    ids=["frame", "time", "number", "name", "syntax", "key"],
)
def test_json_that_was_changed_is_found(forger, told, lie, named):
    def changed(tar):
        start = tar.index(told, tar.index(b'"frame":1'))
        if told.startswith(b"{"):
            start = tar.rindex(told, 0, tar.index(b'"frame":1'))
        tar[start : start + len(told)] = lie
        return tar

    assert named in only(verify(forger.lake(tar=changed)).problems)


def test_json_that_lost_a_value_is_found(forger):
    name = b'"action.gripper":'

    def lost(tar):
        start = tar.index(name)
        stop = tar.index(b"]", start) + 2
        tar[start:stop] = b" " * (stop - start)
        return tar

    assert "disagree about action.gripper" in only(verify(forger.lake(tar=lost)).problems)


def test_a_parquet_that_points_elsewhere_is_found(forger):
    def moved(table):
        places = [
            None if place is None else place | {"offset": place["offset"] + 1}
            for place in table["camera.base"].to_pylist()
        ]
        index = table.column_names.index("camera.base")
        return table.set_column(index, "camera.base", pa.array(places, table["camera.base"].type))

    problems = verify(forger.lake(parquet=moved)).problems
    assert len(problems) == 5
    assert all("base: the Parquet points at" in problem for problem in problems)


def test_a_parquet_number_that_was_changed_is_found_by_moments_and_json(forger):
    def changed(table):
        index = table.column_names.index("state.gripper")
        column = table["state.gripper"]
        values = [[value[0] + 1.0] for value in column.to_pylist()]
        return table.set_column(index, "state.gripper", pa.array(values, column.type))

    problems = verify(forger.lake(parquet=changed)).problems
    assert sum("the moments recomputed" in problem for problem in problems) == 2
    assert sum("disagree about state.gripper" in problem for problem in problems) == 5


def test_frames_out_of_order_are_found(forger):
    problems = verify(forger.lake(parquet=lambda table: table.take(list(range(table.num_rows))[::-1]))).problems
    assert sum("the frames are not numbered 0, 1, 2, …" in problem for problem in problems) == 2


def test_problems_can_be_said_in_json(forger):
    found = verify(forger.lake(rows=change_first(num_frames=9)))
    assert json.loads(json.dumps(found.problems)) == list(found.problems)
