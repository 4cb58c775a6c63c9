"""What a binding says of a whole source is done to its raw episodes, before any signal is taken.

An episode that is left out is an EpisodeError, so that it is counted with its reason; frames that are dropped and
colours that are exchanged are notes of the episode, and so is each doubt.
"""
# Legend: T frames.

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice

import numpy as np

from ingest.formats.segments import instruction_segments
from ingest.record import RawEpisode
from schema.embodiment import SourceBinding
from schema.episode import Instruction, Numbers
from schema.errors import EpisodeError
from schema.picture import Pixels, decode_jpeg


def rule_lines(binding: SourceBinding) -> Iterator[str]:
    """The rules of a source in words, for people."""
    if binding.rate_hz is not None:
        yield f"the log does not say its rate: {binding.rate_hz:g} Hz is taken"
    if binding.only_successes:
        yield "episodes that do not say that they succeeded are quarantined"
    if binding.drop_first:
        told = "first frame" if binding.drop_first == 1 else f"first {binding.drop_first} frames"
        yield f"the {told} of each episode: dropped"
    if binding.bgr_cameras:
        yield f"red and blue are exchanged in the pictures of {', '.join(binding.bgr_cameras)}"


def follow(raw: RawEpisode, binding: SourceBinding) -> RawEpisode:
    """The raw episode by its source's rules; EpisodeError "not_successful" where they leave it out."""
    if binding.only_successes and raw.success is not True:
        told = "does not say whether it succeeded" if raw.success is None else "says that it failed"
        raise EpisodeError("not_successful", f"the episode {told}; only successful ones are taken from this source")
    if binding.instruction is not None:
        raw = _instructed(raw, binding.instruction)
    if binding.drop_first:
        raw = _shortened(raw, binding.drop_first)
    swapped = {key for name, key in _bound(binding) if name in binding.bgr_cameras}
    pictures = {key: _swapped(each) if key in swapped else each for key, each in raw.pictures.items()}
    simulated = raw.is_simulated if raw.is_simulated is not None else binding.is_simulated
    notes = (*raw.notes, *rule_lines(binding), *(f"doubt: {doubt}" for doubt in binding.doubt))
    rate_hz = raw.rate_hz or binding.rate_hz
    return replace(raw, pictures=pictures, notes=notes, rate_hz=rate_hz, is_simulated=simulated)


def _bound(binding: SourceBinding) -> Iterable[tuple[str, str]]:
    return {**binding.cameras, **binding.optional_cameras}.items()


def _instructed(raw: RawEpisode, path: str) -> RawEpisode:
    """The field's bytes taken as instructions; it is no stream of numbers then."""
    if path not in raw.fields:
        raise EpisodeError("missing_field", f"the instruction is bound to {path!r}, the log has {sorted(raw.fields)}")
    found = instruction_segments([_text(row) for row in raw.fields[path]])
    fields = {name: values for name, values in raw.fields.items() if name != path}
    task = found[0].text if found else raw.task
    return replace(raw, fields=fields, instructions=found or raw.instructions, task=task)


def _text(codes: Numbers) -> str:
    kept = codes.reshape(-1).astype(np.int64)
    return bytes(int(code) & 0xFF for code in kept).split(b"\0")[0].decode("utf-8", "replace")


def _shortened(raw: RawEpisode, count: int) -> RawEpisode:
    if raw.clocks:
        raise EpisodeError(
            "own_clocks",
            f"the binding drops the first {count} frames, and the log's streams have clocks of their own and no frames "
            "yet: take `drop_first` out of the binding",
        )
    return replace(
        raw,
        fields={path: values[count:] for path, values in raw.fields.items()},
        pictures={key: islice(each, count, None) for key, each in raw.pictures.items()},
        timestamp_T=None if raw.timestamp_T is None else raw.timestamp_T[count:],
        camera_timestamps={key: seconds_T[count:] for key, seconds_T in raw.camera_timestamps.items()},
        instructions=tuple(
            Instruction(text=i.text, start=max(0, i.start - count), stop=None if i.stop is None else i.stop - count)
            for i in raw.instructions
            if i.stop is None or i.stop > count
        ),
    )


def _swapped(pictures: Iterable[Pixels | bytes]) -> Iterator[Pixels]:
    """Each picture with its channels in the other order."""
    for picture in pictures:
        pixels = decode_jpeg(picture) if isinstance(picture, bytes) else picture
        yield pixels[..., ::-1]
