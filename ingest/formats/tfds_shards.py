"""Which shard files a TFDS `dataset_info.json` promises, and the records of each against that promise.

Nothing is lost in silence: a promised record that is not there is a record with a problem.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from ingest.formats.path_template import filled
from ingest.formats.tfrecord import Scan
from ingest.record import Problem, Record
from schema.errors import SourceError

MAX_MISSING = 1_000_000
"""So many promised records of a file may be missing, each of which is accounted for."""
_DEFAULT_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """One TFRecord file, there or only promised."""

    folder: str
    file: str
    split: str
    promised: int | None
    """How many records it should hold; None where nobody says."""


def shards_of(info: Mapping[str, Any], *, folder: str, files: Mapping[str, Any]) -> tuple[list[Shard], list[str]]:
    """The shards of a version folder in the order of its splits, and notes on what is odd about them.

    A split without any file is a note: it was left behind on purpose. A missing file of a split that is here, and a
    TFRecord file that no split names, are both shards.
    """
    if info.get("fileFormat", "tfrecord") != "tfrecord":
        raise SourceError(
            f"dataset_info.json says that {info.get('name')!r} is stored as {info['fileFormat']!r}, expected "
            f"'tfrecord': export it again with `file_format=tfrecord`: {folder}"
        )
    shards: list[Shard] = []
    notes: list[str] = []
    for split in info.get("splits", []):
        try:
            promised = [shard for shard in _promised(info, split, folder) if shard.promised]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise SourceError(
                f"dataset_info.json has a split that is not as TFDS writes it: {error!r}; fetch it again: {folder}"
            ) from error
        if promised and not any(shard.file in files for shard in promised):
            episodes = sum(shard.promised or 0 for shard in promised)
            notes.append(
                f"dataset_info.json promises a split {split['name']!r} ({episodes} episodes in {len(promised)} files), "
                "none of its files is here"
            )
            continue
        shards += promised
    named = {shard.file for shard in shards}
    unnamed = [file for file in files if file not in named and _is_shard(file, folder)]
    if unnamed:
        notes.append(f"{len(unnamed)} TFRecord files that no split names are taken too: {', '.join(unnamed[:3])}")
    shards += [Shard(folder=folder, file=file, split="unnamed", promised=None) for file in unnamed]
    return shards, notes


def _promised(info: Mapping[str, Any], split: Mapping[str, Any], folder: str) -> Iterator[Shard]:
    lengths = [int(length) for length in split.get("shardLengths", [])]
    for index, length in enumerate(lengths):
        file = filled(
            split.get("filepathTemplate") or _DEFAULT_TEMPLATE,
            DATASET=info["name"],
            SPLIT=split["name"],
            FILEFORMAT="tfrecord",
            SHARD_INDEX=f"{index:05d}",
            NUM_SHARDS=f"{len(lengths):05d}",
            SHARD_X_OF_Y=f"{index:05d}-of-{len(lengths):05d}",
        )
        yield Shard(folder=folder, file=f"{folder}/{file}" if folder else file, split=split["name"], promised=length)


def _is_shard(file: str, folder: str) -> bool:
    path = PurePosixPath(file)
    return str(path.parent) == (folder or ".") and ".tfrecord" in path.name


def records_of(shard: Shard, found: Scan | None, *, first_index: int) -> tuple[list[Record], list[str]]:
    """A shard's records: the whole ones, the broken one, and one for each that is promised and not there."""
    whole = found.records if found else ()
    records = [_record(shard, first_index + i, start=start, stop=stop) for i, (start, stop) in enumerate(whole)]
    if found and found.problem:
        records.append(_record(shard, first_index + len(records), start=found.broken_at, problem=found.problem))
    missing = _missing(shard, found)
    if (shard.promised or 0) - len(records) > MAX_MISSING:
        raise SourceError(f"expected at most {MAX_MISSING} records to be missing of a file; {missing.message}")
    for number in range(len(records), shard.promised or 0):
        problem = Problem(reason=missing.reason, message=f"record {number} of the shard: {missing.message}")
        records.append(_record(shard, first_index + number, problem=problem))
    notes = []
    if shard.promised is not None and len(whole) > shard.promised:
        notes.append(f"{shard.file} holds {len(whole)} records, dataset_info.json says {shard.promised}: all are taken")
    return records, notes


def _missing(shard: Shard, found: Scan | None) -> Problem:
    if found is None:
        return Problem(
            reason="missing_file",
            message=f"dataset_info.json promises {shard.promised} in a file that is not here; fetch {shard.file}",
        )
    why = f", its framing breaks at byte {found.broken_at}" if found.problem else ""
    return Problem(
        reason="missing_record",
        message=f"found {len(found.records)} whole records, dataset_info.json promises {shard.promised}{why}; "
        f"fetch the file again: {shard.file}",
    )


def _record(
    shard: Shard, index: int, *, start: int | None = None, stop: int | None = None, problem: Problem | None = None
) -> Record:
    features = f"{shard.folder}/features.json" if shard.folder else "features.json"
    return Record(
        index=index,
        files=(shard.file, features),
        byte_start=start,
        byte_stop=stop,
        stored_bytes=(stop or 0) - (start or 0) if stop else 0,
        problem=problem,
        meta={"folder": shard.folder, "split": shard.split},
    )
