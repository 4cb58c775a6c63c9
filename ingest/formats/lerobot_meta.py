"""LeRobot's `meta/` folder (v2.0, v2.1, v3.0): what the dataset says of itself, its features and its episodes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ingest.formats.cached_json import read_json, read_json_lines
from ingest.formats.cached_rows import read_rows, read_tasks
from ingest.formats.path_template import filled
from ingest.location import Location
from ingest.record import SourceField
from schema.errors import SourceError

INFO = "meta/info.json"
VERSIONS = ("v2.0", "v2.1", "v3.0")
_SHARED = "v3.0"
BOOKKEEPING = frozenset({"timestamp", "frame_index", "episode_index", "index", "task_index"})
_CHUNK = 1000
_MAX_RATE_HZ = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Meta:
    """One dataset's folder inside a location, with its info.json."""

    root: str
    """The folder that holds `meta/`, with a slash at the end, or nothing."""
    info: Mapping[str, Any]

    @classmethod
    def of(cls, location: Location, root: str) -> "Meta":
        """The dataset at `root`; SourceError where its version is not one that we read or a key is missing."""
        info, where = read_json(location, root + INFO), location.file_uri(root + INFO)
        if not isinstance(info, dict):
            raise SourceError(f"info.json holds a {type(info).__name__}, expected an object: {where}")
        version = str(info.get("codebase_version"))
        if version not in VERSIONS:
            raise SourceError(
                f"found LeRobot {version}, expected {', '.join(VERSIONS)}: convert the dataset at {where}"
            )
        if wrong := [f"{key} = {info.get(key)!r:.40}" for key in _wrong_keys(info)] + list(_wrong_features(info)):
            raise SourceError(f"info.json has {', '.join(wrong)}, expected what LeRobot {version} writes: {where}")
        return cls(root=root, info=info)

    @property
    def rate_hz(self) -> float:
        """Frames per second."""
        return float(self.info["fps"])

    @property
    def features(self) -> Mapping[str, Mapping[str, Any]]:
        """Every feature by key."""
        features: Mapping[str, Mapping[str, Any]] = self.info["features"]
        return features

    @property
    def has_shared_files(self) -> bool:
        """Whether Parquet and video files hold many episodes each (v3.0)."""
        return str(self.info["codebase_version"]) == _SHARED

    def data_file(self, episode: int, row: Mapping[str, Any] | None) -> str:
        """The Parquet file of an episode, by its row of the list of episodes."""
        return self._file(self.info["data_path"], episode, places=row, stem="data")

    def video_file(self, episode: int, key: str, *, row: Mapping[str, Any] | None) -> str:
        """The video of an episode's camera."""
        return self._file(self.info.get("video_path"), episode, places=row, stem=f"videos/{key}", video_key=key)

    def _file(self, template: Any, episode: int, *, places: Mapping[str, Any] | None, stem: str, **words: str) -> str:
        if self.has_shared_files:
            told = {name: (places or {}).get(f"{stem}/{name}") for name in ("chunk_index", "file_index")}
            numbers = {name: number for name, number in told.items() if isinstance(number, int)}
            if len(numbers) < len(told):
                return f"{self.root}{INFO}"  # the episode is not listed, or lacks this camera
        else:
            chunk = episode // int(self.info.get("chunks_size") or _CHUNK)
            numbers = {"episode_chunk": chunk, "episode_index": episode}
        try:
            return self.root + filled(template, **numbers, **words)
        except (TypeError, ValueError) as error:
            raise SourceError(
                f"info.json has the path template {template!r}, which does not format: {error!r}"
            ) from error

    def video_keys(self, *, is_depth: bool = False) -> tuple[str, ...]:
        """Features kept as video files, colour or depth."""
        return tuple(
            key
            for key, feature in self.features.items()
            if feature.get("dtype") == "video" and _is_depth(feature) == is_depth
        )

    def image_keys(self) -> tuple[str, ...]:
        """Features kept as pictures in the Parquet file."""
        return self._keys_of("image")

    def sound_keys(self) -> tuple[str, ...]:
        """Features kept as sound files, which nobody takes."""
        return self._keys_of("audio")

    def _keys_of(self, dtype: str) -> tuple[str, ...]:
        return tuple(key for key, feature in self.features.items() if feature.get("dtype") == dtype)

    def fields(self) -> tuple[SourceField, ...]:
        """The numeric features, bookkeeping left out."""
        return tuple(
            SourceField(path=key, dtype=str(item["dtype"]), shape=_shape(item), names=_names(item.get("names")))
            for key, item in self.features.items()
            if item.get("dtype") not in {"video", "image", "string", "audio"} and key not in BOOKKEEPING
        )

    def cameras(self) -> tuple[SourceField, ...]:
        """The colour picture features."""
        keys = {*self.video_keys(), *self.image_keys()}
        return tuple(
            SourceField(path=key, dtype="uint8", shape=_shape(item))
            for key, item in self.features.items()
            if key in keys
        )

    def episodes(self, location: Location) -> dict[int, Mapping[str, Any]]:
        """The rows of the list of episodes by episode index; SourceError where it is missing."""
        if self.has_shared_files:
            return read_rows(location, f"{self.root}meta/episodes/")
        file = f"{self.root}meta/episodes.jsonl"
        if file not in location.files:
            raise SourceError(f"found no meta/episodes.jsonl, expected it beside info.json: {location.file_uri(file)}")
        return {_index(row, "episode_index", file): row for row in read_json_lines(location, file)}

    def tasks(self, location: Location) -> dict[int, str]:
        """The text of each task index; empty where the dataset has no tasks.jsonl."""
        if self.has_shared_files:
            return read_tasks(location, f"{self.root}meta/tasks.parquet")
        file = f"{self.root}meta/tasks.jsonl"
        if file not in location.files:
            return {}
        rows = read_json_lines(location, file)
        return {_index(row, "task_index", file): str(_cell(row, "task", file)) for row in rows}


def _wrong_keys(info: Mapping[str, Any]) -> Iterator[str]:
    """The keys that LeRobot would not have written so."""
    kinds = {"fps": int | float, "features": dict, "data_path": str, "total_episodes": int}
    optional = {"chunks_size": int, "video_path": str, "robot_type": str, "license": str}
    yield from (key for key, kind in kinds.items() if not isinstance(info.get(key), kind))
    yield from (key for key, kind in optional.items() if not isinstance(info.get(key), kind | None))
    rate = info.get("fps")
    if isinstance(rate, int | float) and not 0 < rate <= _MAX_RATE_HZ:
        yield "fps"


def _wrong_features(info: Mapping[str, Any]) -> Iterator[str]:
    features = info.get("features")
    for key, feature in features.items() if isinstance(features, dict) else ():
        shape = feature.get("shape") if isinstance(feature, dict) else 0
        is_shape = shape is None or (isinstance(shape, list) and all(isinstance(size, int) for size in shape))
        if not is_shape or not isinstance(feature.get("dtype"), str):
            yield f"the feature {key!r} = {feature!r:.80}"
        elif not all(isinstance(feature.get(name), dict | None) for name in ("info", "video_info")):
            yield f"the info of {key!r} = {feature!r:.80}"


def _cell(row: Any, key: str, file: str) -> Any:
    if not isinstance(row, Mapping) or key not in row:
        raise SourceError(f"a row lacks {key!r}: {row!r}; mend {file}")
    return row[key]


def _index(row: Any, key: str, file: str) -> int:
    index = _cell(row, key, file)
    if not isinstance(index, int):
        raise SourceError(f"{key} is {index!r:.80}, expected a whole number; mend {file}")
    return index


def _is_depth(feature: Mapping[str, Any]) -> bool:
    told = {**(feature.get("video_info") or {}), **(feature.get("info") or {})}
    return bool(told.get("video.is_depth_map") or told.get("is_depth_map"))


def _shape(feature: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(int(size) for size in feature.get("shape") or ())


def _names(names: Any) -> tuple[str, ...]:
    """Names of dimensions, of the list, list of lists or mapping of lists that LeRobot's writers make."""
    return tuple(_leaves(names))


def _leaves(names: Any) -> Iterator[str]:
    if isinstance(names, str):
        yield names
    elif isinstance(names, Mapping):
        for value in names.values():
            yield from _leaves(value)
    elif isinstance(names, list):
        for value in names:
            yield from _leaves(value)
