"""Sources to ingest, drivers as processes, and what a lake holds, for the tests of the ingest job."""

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from schema.digest import digest_bytes
from schema.gc import find_garbage
from schema.lake import Lake
from schema.verify import verify
from tests.forked import Forked
from tests.ingest.writers import write_aloha

REPO = Path(__file__).parents[2]
_THREADS = {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}

# The command line with bundles of one record, of which two are committed at once.
_SMALL_STEPS = """
import sys
import ingest.job, ingest.plan, ingest.tasks, robomix
ingest.plan._MIN_BUNDLE_BYTES = 1
ingest.plan._BUNDLES_OF_A_SMALL_SOURCE = 10_000
ingest.job.GROUP_BUNDLES = 2
"""
# The same, with the bundles run by the driver itself, so that what kills it kills the work as well.
_ALONE = """
from tests.ingest.inline_ray import inline_ray
ingest.tasks.ray, ingest.job.start_ray, ingest.tasks.num_cpus = inline_ray(), lambda *_: None, lambda: 1
"""
# Whoever is at work on a bundle says so in a folder, and reaches the S3 server that the driver reaches.
_WATCHED = """
import os
from tests.ingest.faults import at_work
names = [name for name in os.environ if name.startswith("AWS_") or name.lower() == "no_proxy"]
ingest.job.run_bundle = at_work(os.environ["AT_WORK"], {name: os.environ[name] for name in names})
"""
DRIVERS = {
    "ray": _SMALL_STEPS,
    "alone": _SMALL_STEPS + _ALONE,
    "ray, watched": _SMALL_STEPS + _WATCHED,
    "alone, watched": _SMALL_STEPS + _ALONE + _WATCHED,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """A driver that has ended."""

    code: int
    out: str
    err: str

    @property
    def account(self) -> dict[str, Any]:
        """The JSON object on the last line of its standard output."""
        return json.loads(self.out.splitlines()[-1])


def aloha_source(folder: Path, num_episodes: int = 4, *, first: int = 0, steps: int = 2) -> Path:
    """A folder of tiny ALOHA episodes numbered from `first`; each number has its own bytes."""
    for number in range(first, first + num_episodes):
        write_aloha(folder / f"episode_{number}.hdf5", number=number, steps=steps, attrs={"task": "push block"})
    return folder


def start(
    words: list[str],
    cluster: Mapping[str, str],
    *,
    cwd: Path = REPO,
    driver: str | None = None,
    is_fresh: bool = False,
    **env: str,
) -> Any:
    """A process of `robomix` with these words, or of one of DRIVERS; an empty variable is taken from it.

    A driver has imported its libraries before it has its variables, unless it is to be fresh.
    """
    ours = {} if driver is None else {"PYTHONPATH": str(REPO)}
    env = {name: value for name, value in {**os.environ, **_THREADS, **cluster, **ours, **env}.items() if value}
    script = f"{DRIVERS[driver]}\nrobomix.main()" if driver else ""
    if driver and not is_fresh:
        return Forked(script, words, cwd=cwd, env=env)
    program = ["-c", script] if driver else [str(REPO / "robomix.py")]
    command = [sys.executable, *program, *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd, env=env)


def run(words: list[str], cluster: Mapping[str, str], **how: Any) -> Finished:
    """Start a driver and wait for its end."""
    return ended(start(words, cluster, **how))


def ended(process: Any) -> Finished:
    """What a driver said, when it has ended."""
    with process:
        out, err = process.communicate(timeout=120)
    return Finished(code=process.returncode, out=out, err=err)


def contents(lake: Lake) -> dict[tuple[str, str], str]:
    """(episode_id, conversion) → a digest of all its samples' names and bytes, read by `tarfile`."""
    found = {}
    for row in lake.scan("episodes").collect().iter_rows(named=True):
        key = (row["episode_id"], row["conversion"])
        assert key not in found, f"two rows of {key}"
        with lake.local(f"{row['shard']}.tar") as path, tarfile.open(path) as tar:
            members = [member for member in tar if member.name.startswith(row["episode_id"])]
            parts = [part for m in members for part in (m.name.encode(), tar.extractfile(m).read())]  # type: ignore[union-attr]
        assert len(members) == row["num_frames"] * (len(row["cameras"]) + 1)
        found[key] = digest_bytes(*parts)
    return found


def loose_files(lake: Lake) -> list[str]:
    """What `gc` would remove, of any age."""
    return [item.file for item in find_garbage(lake, older_than=timedelta(0))]


def assert_sound(lake: Lake) -> None:
    """Verification finds nothing and no file is unreferenced."""
    assert verify(lake).problems == ()
    assert loose_files(lake) == []


def closes(account: Mapping[str, Any]) -> bool:
    """Whether the four outcomes of a printed account sum to what was discovered."""
    return account["discovered"] == sum(
        account[name] for name in ("committed", "duplicate", "superseded", "quarantined")
    )
