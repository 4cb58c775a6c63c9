"""A file of a location under a local path, for readers that need one, fetched once and removed with its last user."""

import shutil
import tempfile
import weakref
from pathlib import Path, PurePosixPath

from ingest.location import Location


class LocalCopy:
    """The file itself where it is local, else a fetched copy that lives as long as this object.

    EpisodeError "outside_source" where a local file is a link that leads out of the location.
    """

    def __init__(self, location: Location, file: str) -> None:
        if "file" in location.fs.protocol:
            self.path = Path(location.path(file))
            return
        folder = tempfile.mkdtemp(prefix="robomix-fetch-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.path = Path(folder) / PurePosixPath(file).name
        location.fs.get_file(location.path(file), str(self.path))
