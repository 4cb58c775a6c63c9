"""A raw episode's cameras under the embodiment's names, each picture as the lake stores it, one at a time in memory.

A camera that the robot has and the episode lacks is recorded with its reason, or is the episode's error where the
binding requires it. One that is black in every frame has seen nothing: it counts as absent.
"""

from dataclasses import dataclass, field
from typing import Protocol

from ingest.record import RawEpisode
from schema.embodiment import Embodiment, SourceBinding
from schema.episode import Picture
from schema.errors import EpisodeError
from schema.picture import ImageSettings, JpegSizes, Pixels, store, taken_by_header


class See(Protocol):
    """Called with each picture of a camera as it is stored."""

    def __call__(self, camera: str, source: Pixels | bytes, *, pixels: Pixels | None, stored: Picture) -> None:
        """As the log has it, decoded where that was needed, and as it will be stored."""


def see_nothing(camera: str, source: Pixels | bytes, *, pixels: Pixels | None, stored: Picture) -> None:
    """For who keeps no proof."""


BLACK_BELOW = 8
"""A picture with no value as high as this is black; JPEG noise on black stays below."""
_STEP = 16
_LOOK_EVERY = 64
"""Of JPEGs that the log's own checksums cover, one in so many is decoded all the same, and the first until one is
not black."""


@dataclass(kw_only=True, slots=True)
class StoredCameras:
    """What became of each camera."""

    pictures: dict[str, tuple[Picture, ...]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    not_stored: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def store_cameras(
    raw: RawEpisode,
    *,
    embodiment: Embodiment,
    binding: SourceBinding,
    settings: ImageSettings,
    num_frames: int,
    see: See,
) -> StoredCameras:
    """Every camera stored, absent or not stored; EpisodeError where a required one is missing or one is broken."""
    stored = StoredCameras()
    bound = {**binding.cameras, **binding.optional_cameras}
    present = {}
    for name in (camera.name for camera in embodiment.cameras):
        key = bound.get(name)
        if key is None:
            stored.absent[name] = "not_in_source"
        elif key in raw.pictures:
            present[name] = key
        else:
            stored.absent[name] = _why_absent(raw, name, key=key, is_required=name in binding.cameras)
    for name, key in present.items():  # decoded only once nothing required is known to be missing
        _store_one(stored, name, raw, key=key, settings=settings, num_frames=num_frames, see=see)
    unclaimed = [key for key in raw.pictures if key not in bound.values()]
    stored.not_stored |= dict.fromkeys(unclaimed, num_frames)
    stored.notes += [problem.message for key, problem in raw.absent.items() if key not in bound.values()]
    return stored


def _why_absent(raw: RawEpisode, name: str, *, key: str, is_required: bool) -> str:
    problem = raw.absent.get(key)
    if is_required and problem is not None:
        raise EpisodeError(problem.reason, problem.message)
    if is_required:
        raise EpisodeError(
            "missing_camera",
            f"camera {name!r} is bound to {key!r}, the log has {sorted(raw.pictures)}: correct the binding",
        )
    return problem.reason if problem else "not_in_log"


def _stored(
    picture: Pixels | bytes, settings: ImageSettings, *, size_of: JpegSizes | None
) -> tuple[Picture, Pixels | None]:
    """The picture as it is stored; its pixels too, but for a JPEG that passes through unlooked at, by `size_of`."""
    if size_of and isinstance(picture, bytes) and (jpeg := taken_by_header(picture, settings, size_of=size_of)):
        return jpeg, None
    return store(picture, settings)


def _is_black(pixels: Pixels) -> bool:
    few = int(pixels[::_STEP, ::_STEP].max())  # nearly every picture shows by a few of its pixels that it is not
    return few < BLACK_BELOW and int(pixels.max()) < BLACK_BELOW


def _store_one(
    stored: StoredCameras,
    name: str,
    raw: RawEpisode,
    *,
    key: str,
    settings: ImageSettings,
    num_frames: int,
    see: See,
) -> None:
    """Store one camera's pictures; they must be as many as the frames."""
    kept: list[Picture] = []
    num_black, count = 0, 0
    size_of = JpegSizes()
    try:
        for picture in raw.pictures[key]:
            count += 1
            if count <= num_frames:
                must_look = not raw.is_checked or num_black == len(kept) or count % _LOOK_EVERY == 0
                jpeg, pixels = _stored(picture, settings, size_of=None if must_look else size_of)
                kept.append(jpeg)
                see(name, picture, pixels=pixels, stored=jpeg)
                num_black += pixels is not None and _is_black(pixels)
    except EpisodeError as error:
        raise EpisodeError(error.reason, f"camera {name!r} ({key}), picture {len(kept)}: {error}") from error
    if count != num_frames:
        raise EpisodeError(
            "frame_count_mismatch",
            f"camera {name!r} ({key}) has {count} pictures, expected {num_frames}, one per frame",
        )
    if num_black == num_frames:
        stored.absent[name] = "not_in_log" if key in raw.denied else "black_camera"
        stored.notes.append(f"camera {name!r} ({key}) is black in all {num_frames} frames: taken as absent")
        return
    if num_black:
        stored.notes.append(f"camera {name!r} ({key}) is black in {num_black} of {num_frames} frames")
    stored.pictures[name] = tuple(kept)
