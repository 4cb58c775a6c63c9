"""DROID's recordings: which camera is which, and the left eyes' MP4 files as pictures.

A camera is called by its place, `wrist_left`, `exterior_1_left`, `exterior_2_left`: the left eyes of three stereo
cameras, the exterior ones in the order of their serial numbers. Stereo MP4 and SVO, the cameras' own format with depth
and both eyes, are named and not stored; that they are absent is said as well.
"""
# Legend: T frames.

import re
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.formats.video import declared_frames, frames_of, other_streams
from ingest.location import Location
from ingest.record import Problem, Record
from schema.episode import Numbers
from schema.errors import EpisodeError
from schema.picture import Pixels

CAMERAS = ("wrist_left", "exterior_1_left", "exterior_2_left")
RECORDING = re.compile(r"recordings/(?:(?P<kind>MP4|SVO)/)?(?P<serial>[^/]+?)(?P<stereo>-stereo)?\.(?P<type>mp4|svo2?)")
_SERIALS = ("wrist_cam_serial", "ext1_cam_serial", "ext2_cam_serial")
_CAMERA_TYPE = "observation/camera_type/"
_CAMERA_TIMES = "observation/timestamp/cameras/"
_WRIST = 0
"""camera_type of the hand camera."""
_SPARE_PICTURES = 2
"""A recording may go on for so many pictures after the last step; more, and pictures and steps do not correspond."""
_MAX_VIDEO_BYTES = 1 << 30


def recording_notes(folders: Mapping[str, set[str]]) -> Iterator[str]:
    """What the source as a whole has of recordings, said whether there are any or not."""
    names = [file for files in folders.values() for file in files]
    svo = sum(file.endswith((".svo", ".svo2")) for file in names)
    stereo = sum(file.endswith("-stereo.mp4") for file in names)
    without = sum(not any(file.endswith(".mp4") for file in files) for files in folders.values())
    if without:
        yield f"{without} of {len(folders)} episodes have no MP4 recordings"
    yield f"{svo or 'no'} SVO files are here; SVO, with depth and both eyes, is not stored"
    yield f"{stereo or 'no'} stereo MP4 files are here; they are not stored"


def serials_of(told: Mapping[str, Any], fields: Mapping[str, Numbers]) -> dict[str, str]:
    """Serial numbers by camera, as the metadata says or else the HDF5's camera types."""
    named = {name: str(told[key]) for name, key in zip(CAMERAS, _SERIALS, strict=True) if told.get(key)}
    if named:
        return named
    types = {path.removeprefix(_CAMERA_TYPE): kind for path, kind in fields.items() if path.startswith(_CAMERA_TYPE)}
    wrist = [serial for serial in sorted(types) if types[serial].flat[0] == _WRIST]
    exterior = [serial for serial in sorted(types) if serial not in wrist]
    return dict(zip(CAMERAS[:1], wrist, strict=False)) | dict(zip(CAMERAS[1:], exterior, strict=False))


def videos_of(location: Location, record: Record, cameras: Mapping[str, str]) -> dict[str, str]:
    """The MP4 file of each camera that has one, none larger than may be held in memory."""
    by_serial = {
        match["serial"]: record.meta["folder"] + file
        for file in record.meta["recordings"]
        if (match := RECORDING.fullmatch(file)) and match["type"] == "mp4" and not match["stereo"]
    }
    videos = {name: by_serial[serial] for name, serial in cameras.items() if serial in by_serial}
    for file in videos.values():
        if location.files[file].size_bytes > _MAX_VIDEO_BYTES:
            raise EpisodeError(
                "absurd_size",
                f"found a video of {location.files[file].size_bytes} bytes, expected one episode's, at most "
                f"{_MAX_VIDEO_BYTES}: {location.file_uri(file)}",
            )
    return videos


def why_absent(location: Location, record: Record, name: str, *, cameras: Mapping[str, str]) -> Problem:
    """Why a camera has no pictures."""
    folder = location.file_uri(record.meta["folder"] + "recordings")
    serial = cameras.get(name)
    if serial is None:
        return Problem(reason="unknown_camera", message=f"nothing tells the serial number of {name}: {folder}")
    others = [file for file in record.meta["recordings"] if PurePosixPath(file).name.startswith(serial)]
    if others:
        message = f"{name} is there only as {', '.join(others)}, expected MP4/{serial}.mp4: fetch it to {folder}"
        return Problem(reason="svo_only" if any(".svo" in file for file in others) else "stereo_only", message=message)
    return Problem(
        reason="missing_video", message=f"{name} has no MP4/{serial}.mp4, expected one: fetch it to {folder}"
    )


def svo_notes(record: Record) -> Iterator[str]:
    """That an episode has no SVO files, where it has none; those that it has are named in `not_stored`."""
    if not any(".svo" in file for file in record.meta["recordings"]):
        yield "no SVO recordings: depth and the right eyes cannot be had from this copy"


def hash_video(hasher: Any, location: Location, file: str, *, name: str) -> tuple[int, tuple[str, ...]]:
    """Feed a video to the hasher; how many pictures its header claims, and what it carries besides."""
    content = location.read_bytes(file)
    hasher.update(f"{name} {len(content)} ".encode())
    hasher.update(content)
    uri = location.file_uri(file)
    return declared_frames(content, file=uri), other_streams(BytesIO(content), file=uri)


def camera_times(fields: Mapping[str, Numbers], cameras: Mapping[str, str]) -> dict[str, NDArray[np.float64]]:
    """When each picture was taken, in seconds of the control loop's clock, where the log says.

    That is the capture that the camera estimated, or else when its frame came.
    """
    found = {}
    for name, serial in cameras.items():
        told = (fields.get(f"{_CAMERA_TIMES}{serial}_{word}") for word in ("estimated_capture", "frame_received"))
        milliseconds_T = next((values for values in told if values is not None), None)
        if milliseconds_T is not None:
            found[name] = milliseconds_T.astype(np.float64).reshape(-1) / 1000
    return found


def pictures_of(location: Location, file: str, *, steps: int) -> Iterator[Pixels]:
    """A camera's frames, one for each step; the file is read when the first is taken."""
    content = location.read_bytes(file)
    yield from frames_of(content, expected=steps, spare=_SPARE_PICTURES, file=location.file_uri(file))
