"""Any place that files can lie, by fsspec: one way to open it, and one spelling of its path."""

from pathlib import Path
from typing import Any

import fsspec

from schema.credentials import check_address


def open_store(uri: str) -> tuple[Any, str]:
    """The file system of a URI or local path, and the place in the file system's own spelling.

    A local path is made absolute, without `..` or links, so that one place has one name. Listings are never taken from
    memory, since other processes write too. ConfigError where the URI carries credentials.
    """
    check_address(uri)
    fs, root = fsspec.core.url_to_fs(uri, use_listings_cache=False)
    return fs, str(Path(root).resolve()) if "file" in fs.protocol else str(root)
