"""Zarr replay buffers in both formats, as folders and zips; what is missing, packed too well, or points outside."""

import json
import shutil
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numcodecs import BZ2, LZMA, Blosc, GZip, Pickle, Zstd

from ingest.detect import detect
from ingest.formats import zarr_files, zarr_replay
from ingest.location import Location
from schema.errors import EpisodeError
from tests.ingest.writers import picture

LENGTHS = (5, 3, 6)


def write_zarr(
    folder: Path,
    *,
    zarr_format: Any = 2,
    lengths: tuple[int, ...] = LENGTHS,
    rows: int | None = None,
    attrs: dict[str, Any] | None = None,
    compressor: Any = "auto",
    chunk: int = 4,
    texts: list[str] | None = None,
) -> Path:
    """A replay buffer; returns its folder. Each number tells its frame."""
    total = sum(lengths) if rows is None else rows
    number = np.arange(1, total + 1, dtype=np.float32)
    data = {
        "action": number[:, None] + np.arange(7, dtype=np.float32) / 10,
        "robot0_eef_pos": number[:, None].astype(np.float64) * np.ones(3),
        "depth": np.ones((total, 9, 9), np.float32),
        "camera0_rgb": np.stack([picture(step) for step in range(total)]),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        group = zarr.open_group(str(folder), mode="w", zarr_format=zarr_format)
        group.attrs.update(attrs or {})
        for name, values in data.items():
            chunks = (chunk, *values.shape[1:])
            extra = {} if compressor == "auto" else {"compressors": compressor}
            group.create_array(f"data/{name}", data=values, chunks=chunks, **extra)
        group.create_array("meta/episode_ends", data=np.cumsum(lengths))
        if texts:
            group.create_array("meta/instruction", data=np.array(texts))
    return folder


def zipped(folder: Path, *, inside: str = "", compression: int = zipfile.ZIP_STORED) -> Path:
    """The buffer as a .zarr.zip in a folder of its own; the folder."""
    target = folder.parent / "zipped/buffer.zarr.zip"
    target.parent.mkdir()
    with zipfile.ZipFile(target, "w", compression) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, f"{inside}{file.relative_to(folder)}")
    shutil.rmtree(folder)
    return target.parent


def read(folder: Path, index: int = 0) -> Any:
    location = Location.of(str(folder))
    reader, discovery = detect(location, None)
    assert reader.NAME == "zarr_replay"
    return reader.read(location, discovery.records[index])


def numbers(raw: Any) -> list[float]:
    return [float(row[0]) for row in raw.fields["action"]]


LAYOUTS = {
    "folder": lambda folder: folder,
    "folder above": lambda folder: folder.parent,
    "zip": zipped,
    "zip with a folder": lambda folder: zipped(folder, inside="replay_buffer.zarr/"),
    "deflated zip": lambda folder: zipped(folder, compression=zipfile.ZIP_DEFLATED),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_each_episode_has_its_own_rows_and_pictures(tmp_path, zarr_format, layout):
    folder = LAYOUTS[layout](write_zarr(tmp_path / "source/buffer.zarr", zarr_format=zarr_format))

    _, discovery = detect(Location.of(str(folder)), None)
    found = [read(folder, index) for index in range(3)]

    assert [record.num_frames for record in discovery.records] == list(LENGTHS)
    assert [numbers(raw) for raw in found] == [[1, 2, 3, 4, 5], [6, 7, 8], [9, 10, 11, 12, 13, 14]]
    pictures = list(found[1].pictures["camera0_rgb"])
    assert len(pictures) == 3
    np.testing.assert_array_equal(pictures[0], picture(5))
    assert found[0].fields["robot0_eef_pos"].dtype == np.float64
    assert found[0].not_stored == {"depth": 5}
    assert {field.path for field in discovery.fields} == {"action", "robot0_eef_pos"}
    assert [(camera.path, camera.shape) for camera in discovery.cameras] == [("camera0_rgb", (32, 48, 3))]


def test_arrays_that_stand_elsewhere_are_named(tmp_path):
    folder = write_zarr(tmp_path / "a.zarr")
    group = zarr.open_group(str(folder), mode="a", zarr_format=2)
    group.create_array("data/tactile/left", data=np.zeros((14, 2)))
    group.create_array("meta/weights", data=np.zeros(3))

    assert read(folder).not_stored == {"depth": 5, "data/tactile/left": 5, "meta/weights": 5}


def test_a_folder_of_arrays_without_ends_of_episodes_is_noted(tmp_path):
    write_zarr(tmp_path / "a.zarr")
    shutil.rmtree(write_zarr(tmp_path / "deep/b.zarr") / "meta/episode_ends")

    _, discovery = detect(Location.of(str(tmp_path)), None)

    assert len(discovery.records) == len(LENGTHS)
    assert discovery.notes == ("1 Zarr folders have no meta/episode_ends and are not taken: deep/b.zarr/ …",)


def test_attributes_and_texts_per_episode_are_taken(tmp_path):
    attrs = {"robot_type": "bimanual_ur5e", "rate_hz": 20, "task": "cups", "success": True, "colour": "red"}
    folder = write_zarr(tmp_path / "a.zarr", attrs=attrs, texts=["stack", "pour", "wipe"])

    _, discovery = detect(Location.of(str(folder)), None)
    raw = read(folder, 1)

    assert (discovery.robot, discovery.rate_hz) == ("bimanual_ur5e", 20.0)
    assert (raw.task, raw.instructions[0].text, raw.success, raw.rate_hz) == ("cups", "pour", True, 20.0)
    assert raw.notes == ("attribute colour = 'red'",)


def test_a_buffer_is_read_chunk_by_chunk(tmp_path, monkeypatch):
    folder = write_zarr(tmp_path / "a.zarr", lengths=(40,), chunk=4)
    raw = read(folder)
    asked: list[int] = []
    real = zarr_replay._read
    monkeypatch.setattr(zarr_replay, "_BLOCK_BYTES", 0)
    monkeypatch.setattr(zarr_replay, "_read", lambda *args: asked.append(len(args[2])) or real(*args))

    next(iter(raw.pictures["camera0_rgb"]))

    assert asked == [4]


def test_the_digest_is_of_the_episode_wherever_it_lies(tmp_path):
    folder = write_zarr(tmp_path / "s/a.zarr")
    before = [read(folder, index).digest for index in range(3)]
    write_zarr(tmp_path / "s/b.zarr", zarr_format=3, lengths=(*LENGTHS, 2), chunk=5)
    after = [read(tmp_path / "s/b.zarr", index).digest for index in range(4)]

    assert after[:3] == before
    assert len(set(after)) == 4


def test_a_buffer_that_grows_leaves_the_files_of_its_first_episodes_alone(tmp_path):
    before = detect(Location.of(str(write_zarr(tmp_path / "a.zarr"))), None)[1].records
    stamps = {file: (tmp_path / "a.zarr" / file).read_bytes() for record in before[:2] for file in record.files}

    write_zarr(tmp_path / "a.zarr", lengths=(*LENGTHS, 4))

    after = detect(Location.of(str(tmp_path / "a.zarr")), None)[1].records
    assert [record.files for record in after[:2]] == [record.files for record in before[:2]]
    assert all((tmp_path / "a.zarr" / file).read_bytes() == content for file, content in stamps.items())


@pytest.mark.parametrize("compressor", [None, Blosc(), Zstd(), GZip()], ids=str)
def test_common_codecs_are_read(tmp_path, compressor):
    assert numbers(read(write_zarr(tmp_path / "a.zarr", compressor=compressor))) == [1, 2, 3, 4, 5]


def edit(folder: Path, file: str, **changes: Any) -> None:
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_camera_in_a_codec_that_is_not_installed_is_absent_by_its_name(tmp_path):
    folder = write_zarr(tmp_path / "a.zarr")
    edit(folder, "data/camera0_rgb/.zarray", compressor={"id": "imagecodecs_jpegxl", "level": 99})

    raw = read(folder)

    assert raw.absent["camera0_rgb"].reason == "unknown_codec"
    assert "'imagecodecs_jpegxl'" in raw.absent["camera0_rgb"].message
    assert raw.pictures == {}


@pytest.mark.parametrize("codec", [{"id": "imagecodecs_jpegxl"}, {"id": "pickle", "protocol": 5}], ids=str)
def test_numbers_in_a_codec_that_is_missing_or_runs_code_are_refused(tmp_path, codec):
    folder = write_zarr(tmp_path / "a.zarr")
    edit(folder, "data/action/.zarray", filters=[codec])

    with pytest.raises(EpisodeError, match=codec["id"]) as caught:
        read(folder)
    assert caught.value.reason == "unknown_codec"


def test_pickled_objects_are_never_loaded(tmp_path):
    folder = write_zarr(tmp_path / "a.zarr")
    bomb = tmp_path / "ran"
    (folder / "data/note").mkdir()
    told = {**json.loads((folder / "data/action/.zarray").read_text()), "dtype": "|O", "compressor": None}
    told |= {"filters": [Pickle().get_config()], "shape": [14], "chunks": [14], "fill_value": 0}
    (folder / "data/note/.zarray").write_text(json.dumps(told))
    (folder / "data/note/0").write_bytes(f"cos\nsystem\n(S'touch {bomb}'\ntR.".encode())

    raw = read(folder)

    assert raw.not_stored == {"depth": 5, "note": 5}
    assert not bomb.exists()


def test_a_missing_chunk_of_pictures_is_refused_and_of_numbers_is_noted(tmp_path):
    folder = write_zarr(tmp_path / "a.zarr")
    (folder / "data/robot0_eef_pos/1.0").unlink()

    assert "chunk 'data/robot0_eef_pos/1.0' is not there" in read(folder).notes[0]

    (folder / "data/camera0_rgb/1.0.0.0").unlink()
    with pytest.raises(EpisodeError, match=r"camera0_rgb/1\.0\.0\.0' of pictures") as caught:
        read(folder)
    assert caught.value.reason == "missing_data"


def test_an_array_that_is_too_short_is_the_last_episodes_error(tmp_path):
    folder = write_zarr(tmp_path / "a.zarr", rows=10)

    assert numbers(read(folder, 1)) == [6, 7, 8]
    with pytest.raises(EpisodeError, match="has 10 frames, the episode ends at 14") as caught:
        read(folder, 2)
    assert caught.value.reason == "length_mismatch"


@pytest.mark.parametrize("ends", [[5, 5, 9], [5, 3], [-1, 4], [0, 4]], ids=str)
def test_ends_that_do_not_grow_are_a_quarantined_record(tmp_path, ends):
    folder = write_zarr(tmp_path / "a.zarr")
    zarr.open_group(str(folder), mode="r+", zarr_format=2).create_array(
        "meta/episode_ends", data=np.array(ends), overwrite=True
    )

    with pytest.raises(EpisodeError, match="does not grow") as caught:
        read(folder)
    assert caught.value.reason == "unreadable_zarr"


@pytest.mark.parametrize("shape", [[10**12], [10**7, 2], [-4]], ids=str)
def test_absurd_ends_are_refused_before_anything_is_allocated(tmp_path, shape):
    folder = write_zarr(tmp_path / "a.zarr")
    edit(folder, "meta/episode_ends/.zarray", shape=shape, chunks=[3] * len(shape))

    with pytest.raises(EpisodeError):
        read(folder)


def test_chunks_of_an_absurd_size_are_refused(tmp_path):
    folder = write_zarr(tmp_path / "a.zarr")
    edit(folder, "data/action/.zarray", chunks=[10**9, 7])

    with pytest.raises(EpisodeError, match="has chunks of 28000000000 bytes") as caught:
        read(folder)
    assert caught.value.reason == "too_large"


def test_an_episode_of_an_absurd_length_is_refused(tmp_path):
    folder = write_zarr(tmp_path / "a.zarr")
    edit(folder, "data/action/.zarray", shape=[10**12, 7])
    edit(folder, "data/robot0_eef_pos/.zarray", shape=[10**12, 3])
    zarr.open_group(str(folder), mode="r+", zarr_format=2).create_array(
        "meta/episode_ends", data=np.array([10**11]), overwrite=True
    )

    with pytest.raises(EpisodeError, match="in one episode") as caught:
        read(folder)
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize("codec", [Blosc(), Zstd(), GZip(), BZ2()], ids=["blosc", "zstd", "gzip", "bz2"])
def test_a_chunk_that_unpacks_to_more_than_its_array_holds_is_refused(tmp_path, codec):
    folder = write_zarr(tmp_path / "a.zarr", compressor=codec)
    (folder / "data/action/0.0").write_bytes(codec.encode(np.zeros(50_000_000, np.uint8)))

    with pytest.raises(EpisodeError, match="expected the 112 of its array") as caught:
        read(folder)
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize("codec", [GZip(), BZ2()], ids=["gzip", "bz2"])
def test_a_second_stream_behind_the_first_is_counted_too(tmp_path, codec):
    folder = write_zarr(tmp_path / "a.zarr", compressor=codec)
    chunk = folder / "data/action/0.0"
    chunk.write_bytes(chunk.read_bytes() + codec.encode(np.zeros(50_000_000, np.uint8)))

    with pytest.raises(EpisodeError, match="expected the 112 of its array"):
        read(folder)


@pytest.mark.parametrize(
    ("filters", "compressor", "said"),
    [
        ([GZip().get_config()], GZip().get_config(), "packed twice over"),
        (None, LZMA().get_config(), "packed by 'lzma', which is not installed or not safe"),
    ],
)
def test_a_packing_whose_size_cannot_be_told_beforehand_is_refused(tmp_path, filters, compressor, said):
    folder = write_zarr(tmp_path / "a.zarr")
    edit(folder, "data/action/.zarray", filters=filters, compressor=compressor)

    with pytest.raises(EpisodeError, match=said) as caught:
        read(folder)
    assert caught.value.reason == "unknown_codec"


@pytest.mark.parametrize("name", ["../outside/0.0", "/etc/passwd"])
def test_a_zip_that_points_out_of_itself_is_refused(tmp_path, name):
    folder = zipped(write_zarr(tmp_path / "s/a.zarr"))
    with zipfile.ZipFile(folder / "buffer.zarr.zip", "a") as archive:
        archive.writestr(name, b"x")

    with pytest.raises(EpisodeError, match="points out of it") as caught:
        read(folder)
    assert caught.value.reason == "outside_source"


def test_a_link_in_a_zip_is_refused(tmp_path):
    folder = zipped(write_zarr(tmp_path / "s/a.zarr"))
    with zipfile.ZipFile(folder / "buffer.zarr.zip", "a") as archive:
        link = zipfile.ZipInfo("data/action/0.1")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")

    with pytest.raises(EpisodeError, match="points out of it"):
        read(folder)


def test_a_zip_member_that_says_it_is_huge_is_refused(tmp_path, monkeypatch):
    folder = zipped(write_zarr(tmp_path / "s/a.zarr"), compression=zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(zarr_files, "MAX_CHUNK_BYTES", 10)
    monkeypatch.setattr(zarr_files, "_OVERHEAD", 0)

    with pytest.raises(EpisodeError) as caught:
        read(folder)
    assert caught.value.reason == "too_large"


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    folder = write_zarr(tmp_path / "s/a.zarr")
    chunk = folder / "data/action/0.0"
    chunk.rename(tmp_path / "elsewhere")
    chunk.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(EpisodeError, match="leads out of its source") as caught:
        read(folder)
    assert caught.value.reason == "outside_source"


def test_what_is_no_zip_is_a_quarantined_record(tmp_path):
    folder = zipped(write_zarr(tmp_path / "s/a.zarr"))
    file = folder / "buffer.zarr.zip"
    file.write_bytes(file.read_bytes()[:-100])

    with pytest.raises(EpisodeError, match="not a whole zip") as caught:
        read(folder)
    assert caught.value.reason == "unreadable_zarr"


def test_a_cut_chunk_is_the_episodes_error(tmp_path):
    folder = write_zarr(tmp_path / "a.zarr")
    chunk = folder / "data/action/0.0"
    chunk.write_bytes(chunk.read_bytes()[:20])

    with pytest.raises(EpisodeError) as caught:
        read(folder)
    assert caught.value.reason == "unreadable_zarr"
    assert numbers(read(folder, 2)) == [9, 10, 11, 12, 13, 14]


@pytest.mark.parametrize("change", [{"task": "pour"}, {"rate_hz": 10}, {"success": False}])
def test_what_is_said_of_an_episode_is_part_of_its_digest(tmp_path, change):
    said = {"task": "cups", "rate_hz": 20, "success": True}
    before = read(write_zarr(tmp_path / "a.zarr", attrs=said)).digest
    assert read(write_zarr(tmp_path / "b.zarr", attrs=said)).digest == before
    assert read(write_zarr(tmp_path / "c.zarr", attrs=said | change)).digest != before


def test_text_of_characters_that_there_are_not_is_refused(tmp_path):
    folder = write_zarr(tmp_path / "a.zarr", texts=["stack", "pour", "wipe"], compressor=None)
    chunk = folder / "meta/instruction/0"
    chunk.write_bytes(b"\xff\xff\xff\x0f" + chunk.read_bytes()[4:])

    _, discovery = detect(Location.of(str(folder)), None)

    assert [record.problem.reason for record in discovery.records] == ["unreadable_zarr"]


@pytest.mark.parametrize("change", [{"chunks": [0, 2]}, {"shape": [float("inf"), 2]}, {"shape": [-1, 2]}])
def test_sizes_that_no_array_can_have_are_told(tmp_path, change):
    write_zarr(tmp_path / "a.zarr")
    file = tmp_path / "a.zarr/data/action/.zarray"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))

    files = zarr_files.ZarrFiles(Location.of(str(tmp_path)), "a.zarr/")

    with pytest.raises(EpisodeError, match=r"the metadata of 'data/action' makes no sense"):
        files.info("data/action")
