"""Pictures: what is stored is small, near the source, and never a half-read JPEG."""

import threading
import tracemalloc

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from schema.errors import EpisodeError
from schema.picture import (
    ImageSettings,
    JpegSizes,
    decode_into,
    decode_jpeg,
    encode_jpeg,
    fitted_size,
    jpeg_header,
    jpeg_size,
    resize,
    store,
)

SETTINGS = ImageSettings()


def scene(height, width, *, seed=0):
    """Smooth shades with a hard-edged block and a little noise, as a camera sees a table."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    shades = np.stack([np.sin(3 * x), np.cos(2 * y), x * y], -1) * 90 + 120
    shades[height // 4 : height // 2, width // 4 : width // 2] = (200, 60, 40)
    return np.clip(shades + rng.normal(0, 2, shades.shape), 0, 255).astype(np.uint8)


def psnr_db(first, second):
    error = np.mean((first.astype(np.float64) - second.astype(np.float64)) ** 2)
    return 10 * np.log10(255**2 / error)


def grey_jpeg(height, width):
    return simplejpeg.encode_jpeg(np.ascontiguousarray(scene(height, width)[..., :1]), colorspace="GRAY")


@pytest.mark.parametrize(("height", "width"), [(168, 224), (224, 224), (99, 101)])
def test_a_picture_comes_back_close_to_what_was_encoded(height, width):
    pixels = scene(height, width)
    assert psnr_db(decode_jpeg(encode_jpeg(pixels)), pixels) > 36


def test_red_stays_red():
    pixels = np.full((32, 32, 3), (200, 30, 60), np.uint8)
    assert np.abs(decode_jpeg(encode_jpeg(pixels)).astype(int) - pixels).max() <= 3


def test_the_same_pixels_give_the_same_bytes():
    assert encode_jpeg(scene(60, 80)) == encode_jpeg(scene(60, 80))


def test_a_slice_of_a_larger_array_is_encoded_like_its_copy():
    large = scene(100, 100)
    assert encode_jpeg(large[10:50, 20:90]) == encode_jpeg(large[10:50, 20:90].copy())


def test_a_stored_jpeg_is_4_2_0():
    assert simplejpeg.decode_jpeg_header(encode_jpeg(scene(48, 64)))[3] == "420"


@pytest.mark.parametrize(
    ("source", "fitted"),
    [
        ((480, 640), (168, 224)),
        ((640, 480), (224, 168)),
        ((720, 1280), (126, 224)),
        ((256, 256), (224, 224)),
        ((1, 1000), (1, 224)),
        ((225, 225), (224, 224)),
    ],
)
def test_a_large_picture_is_scaled_to_fit(source, fitted):
    picture, pixels, _ = store(scene(*source), SETTINGS)

    assert fitted_size(*source) == fitted
    assert (picture.height, picture.width) == jpeg_size(picture.jpeg) == fitted
    assert pixels.shape[:2] == source


@settings(deadline=None)
@given(height=st.integers(1, 4000), width=st.integers(1, 4000), size=st.integers(1, 512))
def test_a_fitted_size_touches_the_square_and_keeps_the_aspect(height, width, size):
    fitted = fitted_size(height, width, size=size)
    exact = (height * size / max(height, width), width * size / max(height, width))

    assert max(fitted) == size
    assert min(fitted) >= 1
    assert all(abs(found - wanted) <= 0.5 or found == 1 for found, wanted in zip(fitted, exact, strict=True))


@settings(deadline=None, max_examples=40)
@given(height=st.integers(1, 60), width=st.integers(1, 60))
def test_a_small_picture_is_never_scaled_up(height, width):
    pixels = scene(height, width)

    picture, seen, _ = store(pixels, SETTINGS)

    assert (picture.height, picture.width) == (height, width)
    assert decode_jpeg(picture.jpeg).shape == pixels.shape
    assert seen is pixels


@pytest.mark.parametrize(("height", "width"), [(168, 224), (224, 224), (1, 1), (7, 3)])
def test_a_jpeg_that_fits_passes_byte_for_byte(height, width):
    jpeg = encode_jpeg(scene(height, width), quality=60)

    picture, pixels, _ = store(jpeg, SETTINGS)

    assert picture.jpeg == jpeg
    assert (picture.height, picture.width) == (height, width)
    assert np.array_equal(pixels, decode_jpeg(jpeg))


def test_a_jpeg_that_does_not_fit_is_encoded_anew():
    source = encode_jpeg(scene(480, 640))

    picture, pixels, _ = store(source, SETTINGS)

    assert jpeg_size(picture.jpeg) == (168, 224)
    assert psnr_db(decode_jpeg(picture.jpeg), resize(pixels, 168, 224)) > 36


def test_settings_choose_size_and_quality():
    picture, *_ = store(scene(480, 640), ImageSettings(size=128, quality=50))

    assert jpeg_size(picture.jpeg) == (96, 128)
    assert picture.jpeg == encode_jpeg(resize(scene(480, 640), 96, 128), quality=50)


@pytest.mark.parametrize(("height", "width"), [(168, 224), (100, 57), (1, 1), (480, 640), (600, 700)])
def test_resizing_equals_pillows_bilinear(height, width):
    pixels = scene(480, 640)
    expected = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
    assert np.array_equal(resize(pixels, height, width), expected)


def test_downscaling_averages_stripes_that_it_cannot_show():
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::2] = 255

    scaled = resize(stripes, 40, 40)

    assert np.abs(scaled.astype(int) - 127).max() <= 4


def test_resized_pixels_can_be_written_to():
    assert resize(scene(40, 40), 20, 20).flags.writeable


def test_a_grey_jpeg_decodes_to_three_equal_colours():
    pixels = decode_jpeg(grey_jpeg(40, 50))

    assert pixels.shape == (40, 50, 3)
    assert np.array_equal(pixels[..., 0], pixels[..., 1])
    assert np.array_equal(pixels[..., 0], pixels[..., 2])


def test_a_large_grey_jpeg_is_stored_in_colour():
    picture, *_ = store(grey_jpeg(480, 640), SETTINGS)
    assert simplejpeg.decode_jpeg_header(picture.jpeg) == (168, 224, "YCbCr", "420")


READERS = {
    "decode": decode_jpeg,
    "store": lambda jpeg: store(jpeg, SETTINGS),
    "decode into": lambda jpeg: decode_into(jpeg, np.zeros((168, 224, 3), np.uint8)),
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.9, 0.999])
def test_a_truncated_jpeg_is_a_bad_episode(kept, read):
    jpeg = encode_jpeg(scene(168, 224))

    with pytest.raises(EpisodeError) as caught:
        read(jpeg[: int(len(jpeg) * kept)])
    assert caught.value.reason == "bad_jpeg"


@pytest.mark.parametrize("damage", ["no jpeg at all", "", "png", "zeros inside"])
def test_a_corrupt_jpeg_is_a_bad_episode(damage):
    jpeg = bytearray(encode_jpeg(scene(168, 224)))
    jpeg[len(jpeg) // 2 : len(jpeg) // 2 + 40] = bytes(40)
    found = {"png": b"\x89PNG\r\n\x1a\n" + bytes(64), "zeros inside": bytes(jpeg)}.get(damage, damage.encode())

    with pytest.raises(EpisodeError, match=f"JPEG of {len(found)} bytes cannot be decoded") as caught:
        store(found, SETTINGS)
    assert caught.value.reason == "bad_jpeg"


def size_or_error(size_of, jpeg):
    try:
        return size_of(jpeg)
    except EpisodeError as error:
        return str(error)


@settings(deadline=None)
@given(
    shapes=st.lists(st.sampled_from([(24, 32), (32, 24), (32, 32)]), min_size=2, max_size=6),
    changes=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 700), st.integers(0, 255)), max_size=4),
)
def test_sizes_that_are_remembered_are_those_of_each_picture_by_itself(shapes, changes):
    jpegs = [bytearray(encode_jpeg(scene(*shape))) for shape in shapes]
    for number, place, value in changes:
        jpegs[number % len(jpegs)][place % len(jpegs[number % len(jpegs)])] = value
    size_of = JpegSizes()
    assert [size_or_error(size_of, bytes(jpeg)) for jpeg in jpegs] == [
        size_or_error(jpeg_size, bytes(jpeg)) for jpeg in jpegs
    ]


def test_a_header_is_shared_by_pictures_of_one_size_and_ends_before_what_they_show():
    first, second, wider = (encode_jpeg(scene(32, width, seed=seed)) for width, seed in [(32, 0), (32, 1), (48, 0)])
    assert jpeg_header(first) == jpeg_header(second) != jpeg_header(wider)
    assert len(jpeg_header(first)) < 700 < len(first)


@pytest.mark.parametrize("odd", [b"", b"\xff\xd8", b"\xff\xd8\xff\xd0\xff\xda", b"\xff\xd8\xff\xe0\xff\xff\0"])
def test_a_jpeg_whose_segments_cannot_be_followed_is_all_header(odd):
    assert jpeg_header(odd) == odd


def test_the_size_of_what_is_no_jpeg_is_a_bad_episode():
    with pytest.raises(EpisodeError, match="found 3 bytes that are no JPEG"):
        jpeg_size(b"abc")


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 3), np.float32),
    ],
    ids=["grey", "with alpha", "empty", "float"],
)
def test_pixels_of_another_kind_are_a_bad_episode(pixels):
    with pytest.raises(EpisodeError, match=r"expected uint8 \[H, W, 3\]") as caught:
        store(pixels, SETTINGS)
    assert caught.value.reason == "bad_picture"


@pytest.mark.parametrize("jpeg", [encode_jpeg(scene(168, 224)), grey_jpeg(168, 224)], ids=["colour", "grey"])
def test_decoding_into_a_buffer_gives_what_decoding_gives(jpeg):
    batch = np.full((2, 3, 224, 224, 3), 7, np.uint8)

    decode_into(memoryview(jpeg), batch[1, 2, 28:196])

    assert np.array_equal(batch[1, 2, 28:196], decode_jpeg(jpeg))
    batch[1, 2, 28:196] = 7
    assert (batch == 7).all()


def test_decoding_into_a_buffer_makes_no_second_array():
    jpeg, out = encode_jpeg(scene(168, 224)), np.zeros((168, 224, 3), np.uint8)
    decode_into(jpeg, out)

    tracemalloc.start()
    decode_into(jpeg, out)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak_bytes < 4096 < out.nbytes


def test_threads_decode_into_their_own_buffers_at_once():
    jpegs = [encode_jpeg(scene(90, 120, seed=seed)) for seed in range(4)]
    outs = np.zeros((4, 90, 120, 3), np.uint8)
    threads = [threading.Thread(target=decode_into, args=(j, o)) for j, o in zip(jpegs, outs, strict=True)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert np.array_equal(outs, np.stack([decode_jpeg(jpeg) for jpeg in jpegs]))


@pytest.mark.parametrize("shape", [(224, 168, 3), (224, 224, 3), (167, 224, 3), (1, 1, 3)])
def test_a_jpeg_of_another_size_than_its_buffer_is_a_bad_episode(shape):
    with pytest.raises(EpisodeError) as caught:
        decode_into(encode_jpeg(scene(168, 224)), np.zeros(shape, np.uint8))
    assert caught.value.reason == "bad_jpeg"


@pytest.mark.parametrize(
    "out",
    [
        np.zeros((168, 224, 3), np.float32),
        np.zeros((168, 224, 4), np.uint8),
        np.zeros((168, 300, 3), np.uint8)[:, :224],
        np.frombuffer(bytes(168 * 224 * 3), np.uint8).reshape(168, 224, 3),
    ],
    ids=["float", "four colours", "not contiguous", "read-only"],
)
def test_a_buffer_that_cannot_be_decoded_into_is_a_bug_of_the_caller(out):
    with pytest.raises(ValueError, match="expected writable C-contiguous uint8"):
        decode_into(encode_jpeg(scene(168, 224)), out)
