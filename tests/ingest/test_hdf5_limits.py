"""What a few bytes may claim, in HDF5 and in pictures, is looked at before memory is taken; holes are not zeros."""

import tracemalloc
import zlib
from io import BytesIO

import h5py
import numpy as np
import pytest
from PIL import Image

from ingest.formats import hdf5_limits
from ingest.formats.encoded_picture import jpeg_or_pixels
from ingest.formats.video import frames_of
from ingest.location import Location
from schema.errors import EpisodeError
from schema.picture import decode_jpeg, encode_jpeg
from tests.ingest.raw_writers import write_bridge, write_droid, write_mobile_aloha, write_robomimic
from tests.ingest.taking import read, take
from tests.ingest.writers import T, picture, write_video

LOGS = {
    "mobile_trossen": (lambda folder: write_mobile_aloha(folder / "episode_0.hdf5"), ""),
    "franka_droid": (lambda folder: write_droid(folder) / "trajectory.h5", "action/"),
    "panda_sim": (lambda folder: write_robomimic(folder / "a.hdf5"), "data/demo_0/obs/"),
}


@pytest.fixture(params=LOGS)
def log(request, tmp_path):
    """(an HDF5 file of a log in `tmp_path / "log"`, the group for one more stream)."""
    write, group = LOGS[request.param]
    return write(tmp_path / "log"), group


def refusal(folder, reason):
    """The message of the error that must come, taking little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(EpisodeError) as caught:
            take(folder)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
    assert caught.value.reason == reason
    return str(caught.value)


def test_a_link_to_another_file_is_refused(log, tmp_path):
    path, group = log
    with h5py.File(tmp_path / "secret.h5", "w") as other:
        other["x"] = np.zeros(T)
    with h5py.File(path, "a") as file:
        file[group + "x"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/x")
    assert "secret.h5" in refusal(tmp_path / "log", "external_link")


def test_a_soft_link_through_another_file_is_refused(log, tmp_path):
    path, group = log
    with h5py.File(tmp_path / "secret.h5", "w") as other:
        other["x"] = np.zeros(T)
    with h5py.File(path, "a") as file:
        file["door"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/")
        file[group + "x"] = h5py.SoftLink("/door/x")
    refusal(tmp_path / "log", "external_link")


def test_raw_data_in_another_file_is_refused(log, tmp_path):
    path, group = log
    (tmp_path / "raw").write_bytes(bytes(8 * T))
    with h5py.File(path, "a") as file:
        file.create_dataset(group + "x", (T,), "f8", external=[(str(tmp_path / "raw"), 0, 8 * T)])
    refusal(tmp_path / "log", "external_link")


def test_a_virtual_dataset_is_refused(log, tmp_path):
    path, group = log
    layout = h5py.VirtualLayout((T,), "f8")
    layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "x", shape=(T,))
    with h5py.File(path, "a") as file:
        file.create_virtual_dataset(group + "x", layout)
    refusal(tmp_path / "log", "external_link")


def test_numbers_that_would_fill_the_memory_are_refused_by_their_size(log, tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5_limits, "MAX_NUMBERS_BYTES", 1 << 20)
    path, group = log
    with h5py.File(path, "a") as file:
        for name in range(10):
            file.create_dataset(f"{group}x{name}", (T, 4096), "f8", chunks=(1, 4096))
    message = refusal(tmp_path / "log", "absurd_size")
    assert path.name in message
    assert "1 MiB" in message


def test_a_chunk_that_would_fill_the_memory_is_refused(log, tmp_path):
    path, group = log
    with h5py.File(path, "a") as file:
        file.create_dataset(group + "x", (T, 8), "f8", chunks=(2**26, 8), maxshape=(None, 8))
    assert "256 MiB" in refusal(tmp_path / "log", "absurd_size")


@pytest.mark.parametrize("chunks", [None, (2,)])
def test_numbers_that_were_never_written_are_not_zeros(log, tmp_path, chunks):
    path, group = log
    with h5py.File(path, "a") as file:
        file.create_dataset(group + "x", (T,), "f8", chunks=chunks)
    assert "never written" in refusal(tmp_path / "log", "unwritten_data")


def test_a_stream_too_wide_for_numbers_is_named_and_not_read(log, tmp_path):
    path, group = log
    with h5py.File(path, "a") as file:
        file.create_dataset(group + "cloud", (T, 10_000, 10_000, 3), "f4", chunks=(1, 100, 100, 3))
    assert any(name.endswith("cloud") and count == T for name, count in take(tmp_path / "log").not_stored.items())


def test_a_picture_stream_of_absurd_length_is_refused_before_it_is_read(tmp_path):
    path = write_robomimic(tmp_path / "a.hdf5")
    with h5py.File(path, "a") as file:
        del file["data/demo_0/obs/robot0_eye_in_hand_image"]
        file.create_dataset("data/demo_0/obs/robot0_eye_in_hand_image", (10**9, 84, 84, 3), "u1", chunks=(1, 84, 84, 3))
    refusal(tmp_path, "frame_count_mismatch")


def test_a_picture_of_absurd_size_is_refused_before_it_is_read(tmp_path):
    path = write_robomimic(tmp_path / "a.hdf5")
    with h5py.File(path, "a") as file:
        del file["data/demo_0/obs/robot0_eye_in_hand_image"]
        shape = (T, 50_000, 50_000, 3)
        file.create_dataset("data/demo_0/obs/robot0_eye_in_hand_image", shape, "u1", chunks=(1, 100, 100, 3))
    refusal(tmp_path, "absurd_size")


def test_a_chunk_that_unpacks_to_more_than_it_says_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5_limits, "_TRUSTED_BYTES", 1 << 20)
    path = write_robomimic(tmp_path / "a.hdf5")
    with h5py.File(path, "a") as file:
        bomb = file.create_dataset("data/demo_0/obs/x", (T,), "f8", chunks=(T,), compression="gzip")
        bomb.id.write_direct_chunk((0,), zlib.compress(bytes(50_000_000)))
    assert "unpacks to more" in refusal(tmp_path, "absurd_size")


@pytest.mark.parametrize("order", ["deflate deflate", "deflate shuffle", "lzf deflate"])
def test_a_chunk_whose_size_cannot_be_told_beforehand_is_refused(tmp_path, order):
    path = write_robomimic(tmp_path / "a.hdf5")
    codes = {"deflate": h5py.h5z.FILTER_DEFLATE, "shuffle": h5py.h5z.FILTER_SHUFFLE, "lzf": h5py.h5z.FILTER_LZF}
    with h5py.File(path, "a") as file:
        made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        made.set_chunk((T,))
        for word in order.split():
            made.set_filter(codes[word], h5py.h5z.FLAG_OPTIONAL, (1,) if word == "deflate" else ())
        space = h5py.h5s.create_simple((T,))
        h5py.h5d.create(file["data/demo_0/obs"].id, b"x", h5py.h5t.NATIVE_DOUBLE, space, made).write(
            h5py.h5s.ALL, h5py.h5s.ALL, np.zeros(T)
        )
    assert "one after the other" in refusal(tmp_path, "unknown_codec")


def test_a_stream_of_a_single_value_is_refused(tmp_path):
    path = write_droid(tmp_path) / "trajectory.h5"
    with h5py.File(path, "a") as file:
        del file["action/joint_position"]
        file["action/joint_position"] = 1.0
    with pytest.raises(EpisodeError, match="expected \\[T, …\\]") as caught:
        read(tmp_path)
    assert caught.value.reason == "bad_shape"


def claiming(jpeg, height, width):
    """The JPEG with another size in its header."""
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + jpeg[at + 4 :]


def test_a_jpeg_that_claims_to_be_huge_is_not_decoded():
    with pytest.raises(EpisodeError, match="60000 × 60000") as caught:
        decode_jpeg(claiming(encode_jpeg(picture()), 60_000, 60_000))
    assert caught.value.reason == "absurd_size"


def test_a_picture_in_a_language_that_runs_programs_is_no_picture():
    with pytest.raises(EpisodeError, match="expected a JPEG, PNG, WebP or BMP") as caught:
        jpeg_or_pixels(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(x) print\n%%EOF\n")
    assert caught.value.reason == "bad_picture"


def test_a_png_that_is_huge_is_not_decoded():
    stream = BytesIO()
    Image.new("1", (9000, 9000)).save(stream, "PNG")
    with pytest.raises(EpisodeError) as caught:
        jpeg_or_pixels(stream.getvalue())
    assert caught.value.reason == "absurd_size"


def test_a_video_that_claims_to_be_huge_is_not_decoded(tmp_path, monkeypatch):
    write_video(tmp_path / "a.mp4", [picture()] * 3)
    monkeypatch.setattr("schema.picture.MAX_PIXELS", 1000)
    with pytest.raises(EpisodeError) as caught:
        list(frames_of((tmp_path / "a.mp4").read_bytes(), expected=3, file="a.mp4"))
    assert caught.value.reason == "absurd_size"


@pytest.mark.parametrize("file", ["../secret", "/etc/passwd", "a/../../secret"])
def test_a_path_out_of_the_source_is_refused(tmp_path, file):
    (tmp_path / "log").mkdir()
    (tmp_path / "log/a").write_text("x")
    with pytest.raises(EpisodeError, match="leads out of its source") as caught:
        Location.of(str(tmp_path / "log")).read_bytes(file)
    assert caught.value.reason == "outside_source"


@pytest.mark.parametrize("name", ["obs_dict.pkl", "images0/im_2.jpg"])
def test_a_link_out_of_the_source_is_refused_and_the_others_go_on(tmp_path, name):
    folder = write_bridge(tmp_path / "log", number=0)
    write_bridge(tmp_path / "log", number=1)
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")

    with pytest.raises(EpisodeError) as caught:
        read(tmp_path / "log", 0)

    assert caught.value.reason == "outside_source"
    assert name in str(caught.value)
    assert take(tmp_path / "log", 1).num_frames == T


def test_a_link_inside_the_source_is_followed(tmp_path):
    folder = write_bridge(tmp_path)
    (folder / "images0/im_2.jpg").unlink()
    (folder / "images0/im_2.jpg").symlink_to(folder / "images0/im_1.jpg")
    assert take(tmp_path).num_frames == T


def test_a_source_that_is_itself_a_link_is_read(tmp_path):
    write_mobile_aloha(tmp_path / "real/episode_0.hdf5")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert take(tmp_path / "link").num_frames == T


@pytest.mark.parametrize("userblock_bytes", [0, 512])
@pytest.mark.parametrize(
    ("shape", "chunks"), [((5, 6, 7, 3), None), ((5, 6, 7, 3), (2, 6, 7, 3)), ((5, 9), None), ((5,), None)]
)
def test_rows_are_those_of_the_array_however_it_is_laid_out(tmp_path, shape, chunks, userblock_bytes):
    wanted = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=userblock_bytes) as file:
        file.create_dataset("x", data=wanted, chunks=chunks)

    for place in (tmp_path / "a.h5", BytesIO((tmp_path / "a.h5").read_bytes())):
        with h5py.File(place) as file:
            found = list(hdf5_limits.rows_of(file["x"], file="a.h5"))
        assert np.array_equal(found, wanted)
