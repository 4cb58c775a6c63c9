"""A raw episode's cameras under the embodiment's names, each picture as the lake stores it, one at a time in memory.

A camera that the robot has and the episode lacks is recorded with its reason, or is the episode's error where the
binding requires it. One that is black in every frame has seen nothing: it counts as absent.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ingest.record import RawEpisode
from schema.embodiment import Embodiment, SourceBinding
from schema.episode import Picture
from schema.errors import EpisodeError
from schema.picture import ImageSettings, JpegSizes, Pixels, Stored, glimpse, store, taken_by_header


class See(Protocol):
    """Called with each picture of a camera as it is stored."""

    def __call__(self, camera: str, source: Pixels | bytes, *, fitted: Pixels | None, stored: Picture) -> None:
        """As the log has it, its pixels at the stored size where they were needed, and as it will be stored."""


def see_nothing(camera: str, source: Pixels | bytes, *, fitted: Pixels | None, stored: Picture) -> None:
    """For who keeps no proof."""


BLACK_BELOW = 8
"""A picture with no value as high as this is black; JPEG noise on black stays below."""
_SURELY_NOT_BLACK = 2 * BLACK_BELOW
"""A value of a picture's eighth that no black picture has, whatever is lost by rounding."""
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


def _is_black(pixels: Pixels) -> bool:
    middle = pixels[len(pixels) // 2]  # nearly every picture shows by one row that it is not
    return int(middle.max()) < BLACK_BELOW and int(pixels.max()) < BLACK_BELOW


@dataclass(kw_only=True, slots=True)
class _Camera:
    """One camera's pictures, taken a few at a time."""

    settings: ImageSettings
    is_checked: bool
    kept: list[Picture] = field(default_factory=list)
    num_black: int = 0
    _size_of: JpegSizes = field(default_factory=JpegSizes)

    def take(self, some: Sequence[Pixels | bytes], *, name: str, see: See) -> None:
        """Keep these, all JPEGs of which none need be looked at or one picture; EpisodeError where one is broken."""
        if taken := self._taken_unseen(some):
            for jpeg in taken:
                see(name, jpeg.jpeg, fitted=None, stored=jpeg)
            self.kept += taken
            return
        for picture in some:
            must_look = not self.is_checked or self.num_black == len(self.kept) or _is_turn(len(self.kept))
            jpeg, source, fitted = self._stored(picture, must_look=must_look)
            see(name, picture, fitted=fitted, stored=jpeg)
            self.kept.append(jpeg)
            self.num_black += source is not None and _is_black(source)

    def _taken_unseen(self, some: Sequence[Pixels | bytes]) -> list[Picture] | None:
        if not self.is_checked or self.num_black == len(self.kept) or len(some) == 1:
            return None
        jpegs = [picture for picture in some if isinstance(picture, bytes)]
        if not jpegs or len(jpegs) < len(some):
            return None
        size = self._size_of.of_all(jpegs)
        return None if size is None else taken_by_header(jpegs, self.settings, size=size)

    def _stored(self, picture: Pixels | bytes, *, must_look: bool) -> Stored:
        """The picture as it is stored; without pixels a JPEG that passes through and is surely not black."""
        if self.is_checked and isinstance(picture, bytes) and picture:
            taken = taken_by_header([picture], self.settings, size=self._size_of(picture))
            if taken and (not must_look or glimpse(picture).max() >= _SURELY_NOT_BLACK):
                return Stored(taken[0], None, None)
        return store(picture, self.settings)


def _is_turn(index: int) -> bool:
    """Whether this one of a camera's pictures is decoded whatever its header says."""
    return index % _LOOK_EVERY == _LOOK_EVERY - 1


def _in_blocks(pictures: Iterable[Pixels | bytes]) -> Iterator[Sequence[Pixels | bytes]]:
    """Pictures between those whose turn it is to be looked at, all at once where they are in memory anyway."""
    if not isinstance(pictures, Sequence):
        yield from ([picture] for picture in pictures)
        return
    for start in range(0, len(pictures), _LOOK_EVERY):
        block = pictures[start : start + _LOOK_EVERY]
        yield block[: _LOOK_EVERY - 1]
        yield block[_LOOK_EVERY - 1 :]


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
    camera = _Camera(settings=settings, is_checked=raw.is_checked)
    count = 0
    try:
        for some in _in_blocks(raw.pictures[key]):
            wanted = some[: max(0, num_frames - count)]
            count += len(some)
            camera.take(wanted, name=name, see=see)
    except EpisodeError as error:
        raise EpisodeError(error.reason, f"camera {name!r} ({key}), picture {len(camera.kept)}: {error}") from error
    num_black = camera.num_black
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
    stored.pictures[name] = tuple(camera.kept)
