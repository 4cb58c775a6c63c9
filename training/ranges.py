"""Bytes [start, stop) of a lake's files: mapped where the lake is local, else fetched, tried again, and counted.

S3 is read by Arrow's own client, which takes a third of the processor's time of s3fs and leaves the GIL alone; any
other store by fsspec. Faults of the network pass, so a read is tried again after a growing pause; a file that is gone
or a door that is shut is told at once.
"""

import io
import os
import threading
import time
from collections.abc import Callable
from functools import cached_property
from typing import TypeVar

import pyarrow as pa
import pyarrow.fs as pafs

from schema.errors import SchemaError
from schema.lake import Lake

TRIES = 6
FIRST_PAUSE_S = 0.25
"""Doubled after each failure: six tries take about eight seconds beside their own time."""
_FINAL = ("ACCESS_DENIED", "NO_SUCH_BUCKET", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH")
_TIMEOUT_S = 20
_OPEN = 1024
"""Files of which the size is kept, which asking for costs a request."""
Value = TypeVar("Value")


class Ranges:
    """Reads pieces of a lake's files; safe for many threads."""

    def __init__(self, lake: Lake) -> None:
        self.lake, self.is_local = lake, lake.is_local
        self.bytes_fetched, self.requests = 0, 0
        self._files: dict[str, pa.NativeFile] = {}
        self._lock = threading.Lock()

    def read(self, file: str, start: int, stop: int) -> bytes:
        """The file's bytes [start, stop), all of them.

        Raises:
            SchemaError: the file is missing or too short, or could not be read however often it was tried.
        """
        data = self._again(file, lambda: self._fetch(file, start, stop))
        with self._lock:
            self.bytes_fetched += len(data)
            self.requests += 1
        if len(data) != stop - start:
            raise SchemaError(
                f"{file} is cut short: found {len(data)} of its bytes {start}…{stop}; run `robomix lake verify` "
                f"({self.lake.uri})"
            )
        return data

    def size(self, file: str) -> int:
        """How many bytes the file has."""
        return self._again(
            file, lambda: int(self._open(file).size() if self._s3 else self.lake.fs.size(self._at(file)))
        )

    def map(self, file: str) -> memoryview:
        """A local file as mapped memory, of which the operating system keeps what is hot; no file stays open."""
        with self.lake.local(file) as path:
            if not path.stat().st_size:
                raise SchemaError(f"{file} is empty; run `robomix lake verify` ({self.lake.uri})")
            with pa.memory_map(str(path)) as source:
                return memoryview(source.read_buffer()).cast("B")

    def _at(self, file: str) -> str:
        return self.lake.path(file)

    def _fetch(self, file: str, start: int, stop: int) -> bytes:
        if self._s3 is None:
            return bytes(self.lake.fs.cat_file(self._at(file), start=start, end=stop))
        return bytes(self._open(file).read_at(stop - start, start))

    def _open(self, file: str) -> pa.NativeFile:
        """Opened once, which asks for the file's size."""
        found = self._files.get(file)
        if found is None:
            assert self._s3 is not None
            found = self._s3.open_input_file(self._at(file))
            with self._lock:
                self._files[file] = found
                if len(self._files) > _OPEN:
                    del self._files[next(iter(self._files))]
        return found

    @cached_property
    def _s3(self) -> pafs.S3FileSystem | None:
        """The S3 that the environment's AWS_… variables name; None where the lake is not there."""
        if "s3" not in self.lake.fs.protocol:
            return None
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        return pafs.S3FileSystem(
            endpoint_override=endpoint,
            region=region,
            connect_timeout=_TIMEOUT_S,
            request_timeout=_TIMEOUT_S,
            retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=1),
        )

    def _again(self, file: str, read: Callable[[], Value]) -> Value:
        """What `read` gives, tried again after faults that may pass."""
        for left in reversed(range(TRIES)):
            try:
                return read()
            except FileNotFoundError as error:
                raise SchemaError(
                    f"{file} is missing from {self.lake.uri}: expected it by the lock; run `robomix lake verify`"
                ) from error
            except OSError as error:
                with self._lock:
                    self._files.pop(file, None)
                if not left or isinstance(error, PermissionError) or any(word in str(error) for word in _FINAL):
                    raise SchemaError(
                        f"{file} could not be read in {TRIES - left} tries (the last: {error}); "
                        f"check the network, and the keys in AWS_…; then resume ({self.lake.uri})"
                    ) from error
                time.sleep(FIRST_PAUSE_S * 2 ** (TRIES - 1 - left))
        raise AssertionError


class RangedFile(io.RawIOBase):
    """A remote file that Arrow reads by ranges; not safe for several threads at once."""

    def __init__(self, ranges: Ranges, file: str) -> None:
        self._ranges, self._file = ranges, file
        self._size, self._place = ranges.size(file), 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Begin the next read elsewhere."""
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        return self._place

    def read(self, size: int = -1) -> bytes:
        """So many bytes, fewer at the end of the file; all that are left where no number is given."""
        stop = self._size if size < 0 else min(self._size, self._place + size)
        data = self._ranges.read(self._file, self._place, stop) if stop > self._place else b""
        self._place = max(self._place, stop)
        return data
