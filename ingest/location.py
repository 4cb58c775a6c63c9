"""A place that holds raw logs, local or remote: its files once listed, and bytes of them on demand."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, cast

from botocore.exceptions import BotoCoreError

from schema.digest import digest_json
from schema.errors import EpisodeError, SourceError
from schema.store import open_store


@dataclass(frozen=True, kw_only=True, slots=True)
class FileStamp:
    """What tells one version of a file from another without reading it."""

    size_bytes: int
    version: str
    """The store's etag, or the time of modification in nanoseconds."""


@dataclass(frozen=True, kw_only=True)
class Location:
    """A folder or file on any fsspec file system, by absolute URI without credentials."""

    uri: str
    root: str
    """The same place in the file system's own spelling."""
    files: dict[str, FileStamp] = field(repr=False)
    """Every file below, by path relative to `root`; a location that is one file holds only its name."""
    folder_links: dict[str, str] = field(default_factory=dict, repr=False)
    """Links to folders, which are not followed, and where they lead."""

    @classmethod
    def of(cls, uri: str) -> "Location":
        """List a location once; SourceError where there is nothing, ConfigError where the URI carries credentials."""
        try:
            fs, root = open_store(uri)
            found = _listed(fs, root)
        except (FileNotFoundError, NotADirectoryError):
            found = {}
        except (ImportError, ValueError) as error:
            raise SourceError(
                f"cannot open {uri!r}: {error}; expected a folder, a file, or a URI like s3://…"
            ) from error
        except (OSError, BotoCoreError) as error:
            raise SourceError(
                f"cannot list {uri!r}: {error}; check the address, and the credentials in the environment (AWS_…) or "
                "~/.aws/credentials"
            ) from error
        if not found:
            raise SourceError(f"found nothing at {uri!r}: expected a folder or file with robot logs; check the path")
        if set(found) == {root}:
            root = str(PurePosixPath(root).parent)
        start = len(root.rstrip("/")) + 1  # every path is below the root: slicing is ten times as fast as PurePath
        links = {path[start:]: str(info["destination"]) for path, info in found.items() if _is_folder_link(path, info)}
        stamps = {name: _stamp(info) for path, info in found.items() if (name := path[start:]) not in links}
        return cls(
            uri=str(fs.unstrip_protocol(root)), root=root, files=dict(sorted(stamps.items())), folder_links=links
        )

    @cached_property
    def fs(self) -> Any:
        """The fsspec file system."""
        return open_store(self.uri)[0]

    @property
    def name(self) -> str:
        """The last part of the path."""
        return PurePosixPath(self.root).name

    def __getstate__(self) -> dict[str, Any]:
        """Cross process borders without the open file system, with a million files in columns."""
        sizes, versions = [s.size_bytes for s in self.files.values()], [s.version for s in self.files.values()]
        columns = (list(self.files), sizes, versions)
        return {"uri": self.uri, "root": self.root, "files": columns, "folder_links": self.folder_links}

    def __setstate__(self, state: dict[str, Any]) -> None:
        columns = zip(*state.pop("files"), strict=True)
        files = {name: FileStamp(size_bytes=size, version=version) for name, size, version in columns}
        self.__dict__.update(state, files=files)

    def path(self, file: str) -> str:
        """The file in the file system's own spelling; EpisodeError "outside_source" where it leads out of here."""
        target = f"{self.root}/{file}"
        is_outside = file.startswith("/") or ".." in PurePosixPath(file).parts
        if not is_outside and "file" in self.fs.protocol:  # a link may lead anywhere
            folder = Path(target).resolve() if Path(target).is_symlink() else _real(str(PurePosixPath(target).parent))
            is_outside = not folder.is_relative_to(_real(self.root))
        if is_outside:
            raise EpisodeError(
                "outside_source",
                f"the file leads out of its source, expected links and paths inside: copy it there, {self.uri}/{file}",
            )
        return target

    def file_uri(self, file: str) -> str:
        """The absolute URI of a file here."""
        return f"{self.uri.rstrip('/')}/{file}"

    def read_bytes(self, file: str, start: int | None = None, stop: int | None = None) -> bytes:
        """The file's bytes [start, stop)."""
        return cast(bytes, self.fs.cat_file(self.path(file), start=start, end=stop))

    def open(self, file: str) -> BinaryIO:
        """The file for reading, with seek."""
        return cast(BinaryIO, self.fs.open(self.path(file), "rb"))

    @contextmanager
    def local(self, file: str) -> Iterator[Path]:
        """The file under a local path, fetched for the while where it is remote."""
        if "file" in self.fs.protocol:
            yield Path(self.path(file))
            return
        with TemporaryDirectory(prefix="robomix-fetch-") as folder:
            target = Path(folder) / PurePosixPath(file).name
            self.fs.get_file(self.path(file), str(target))
            yield target

    def stamp_key(self, files: tuple[str, ...], *identity: int | None) -> str:
        """`source_key`: a digest of these files' names, sizes and versions, absent ones included."""
        stamps = [[file, *((s.size_bytes, s.version) if (s := self.files.get(file)) else (None,))] for file in files]
        return digest_json([self.uri, stamps, *identity])


@lru_cache(maxsize=4096)
def _real(folder: str) -> Path:
    return Path(folder).resolve()


def _listed(fs: Any, root: str) -> dict[str, dict[str, Any]]:
    """Every file below; SourceError where a folder may not be read, which fsspec leaves out in silence."""
    if "file" not in fs.protocol:
        return cast(dict[str, dict[str, Any]], fs.find(root, detail=True))
    found = fs.find(root, detail=True, withdirs=True)
    folders = [path for path, info in found.items() if info.get("type") == "directory"]
    if closed := [path for path in folders if not os.access(path, os.R_OK | os.X_OK)]:
        raise SourceError(
            f"{len(closed)} folders may not be read, expected all: change who may, or ingest the others by themselves; "
            f"the first is {closed[0]}"
        )
    return {path: info for path, info in found.items() if info.get("type") != "directory"}


def _is_folder_link(path: str, info: dict[str, Any]) -> bool:
    """Of a local file system: it lists such a link as if it were a file."""
    return bool(info.get("islink")) and Path(path).is_dir()


def _stamp(info: dict[str, Any]) -> FileStamp:
    version = info.get("ETag") or info.get("etag") or info.get("mtime") or info.get("LastModified") or ""
    if isinstance(version, float):
        version = int(version * 1e9)
    return FileStamp(size_bytes=int(info.get("size") or 0), version=str(version).strip('"'))
