"""A planted secret shows nowhere: not in what a command prints, not in a lake's files or tables, not in Ray's logs."""

import shutil
import tempfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from schema.lake import Lake
from schema.store import open_store
from tests.ingest import driving
from tests.ingest.driving import aloha_source, run
from tests.s3 import BUCKET, KEY, SECRET

pytestmark = pytest.mark.slow

WRONG = "planted/wrong+secret/0123456789"
_LEAKING = """
from tests.ingest.faults import reading
from tests.ingest.test_secrets import leaking
ingest.job.run_bundle = reading(leaking({kind}))
"""


def leaking(kind):
    """A library that repeats what it was given, as it fails at the third record."""

    def read_or_leak(read, record):
        if record.index != 2:
            return read()
        import os  # noqa: PLC0415 - in the worker

        secret = os.environ["AWS_SECRET_ACCESS_KEY"]
        raise kind(f"no answer from s3://{secret}:{secret}@host/a?X-Amz-Signature={secret}, header {secret!r}")

    return read_or_leak


def leaky(monkeypatch, kind, driver):
    """The name of a driver whose formats leak."""
    script = driving.DRIVERS[driver] + _LEAKING.format(kind=kind.__name__)
    monkeypatch.setitem(driving.DRIVERS, "leaky", script)
    return "leaky"


def logs_on_s3(uri, folder):
    """Four episodes, of which the second is cut."""
    logs = aloha_source(folder / "logs", 4)
    path = logs / "episode_1.hdf5"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    fs, prefix = open_store(uri)
    fs.put(f"{logs}/", f"{prefix}/logs/", recursive=True)
    return f"{uri}/logs"


def everything_in(lake, folder):
    """(file, text) of every file below a lake, tables decoded."""
    lake.fs.get(f"{lake.root}/", str(folder), recursive=True)
    for path in folder.rglob("*"):
        if path.is_file():
            yield path.name, path.read_bytes().decode("latin-1")
        if path.suffix == ".parquet":
            yield path.name, str(pq.read_table(path).to_pylist())


def holders(*secrets, texts):
    """The names of the texts that hold one of the secrets."""
    return [name for name, text in texts if any(secret in text for secret in secrets)]


def test_no_secret_shows_in_output_or_lake_of_an_ingest_with_faults(s3_lake_uri, tmp_path, monkeypatch):
    monkeypatch.setenv("FSSPEC_S3_SECRET", SECRET)  # a storage option, as fsspec takes it from the environment
    monkeypatch.setenv("FSSPEC_S3_KEY", KEY)
    source, lake_uri = logs_on_s3(s3_lake_uri, tmp_path), f"{s3_lake_uri}/lake"
    driver = leaky(monkeypatch, OSError, "alone")

    taken = run(["ingest", source, "--json", "--lake", lake_uri], {}, driver=driver, is_fresh=True)
    lake = Lake.open(lake_uri)
    episode = lake.episodes().collect()["episode_id"][0]
    asked = [
        run(words, {}, driver=driver, is_fresh=True)
        for words in (["lake", "info", lake_uri], ["lake", "trace", episode, "--lake", lake_uri])
    ]

    said = [(str(number), ended.out + ended.err) for number, ended in enumerate([taken, *asked])]
    assert (taken.code, taken.account["quarantine"]) == (3, {"unexpected_oserror": 1, "unreadable_hdf5": 1})
    assert [ended.code for ended in asked] == [0, 0]
    messages = lake.quarantine().filter(reason="unexpected_oserror").collect()
    assert messages["message"].to_list() == ["no answer from s3://***@host/a?X-Amz-Signature=***, header '***'"]
    assert holders(SECRET, texts=said) == []
    kept = list(everything_in(lake, tmp_path / "kept"))
    assert len(kept) > 10
    assert holders(SECRET, texts=kept) == []


def test_no_secret_shows_in_the_traceback_of_a_fault_of_our_own_or_in_rays_logs(s3_lake_uri, tmp_path, monkeypatch):
    folder = tempfile.mkdtemp(prefix="rx-")  # short: a socket's path in it has 107 bytes
    source, driver = logs_on_s3(s3_lake_uri, tmp_path), leaky(monkeypatch, TypeError, "ray")
    environment = {"RAY_ADDRESS": "", "RAY_AUTH_MODE": "disabled", "RAY_TMPDIR": folder}
    try:
        stopped = run(["ingest", source, "--lake", f"{s3_lake_uri}/lake"], environment, driver=driver)
        logs = [(path.name, path.read_text(errors="replace")) for path in Path(folder).rglob("*.*") if path.is_file()]
    finally:
        shutil.rmtree(folder, ignore_errors=True)

    assert stopped.code == 1
    assert "Traceback" in stopped.err
    assert "TypeError: no answer from s3://***@host/a?X-Amz-Signature=***, header '***'" in stopped.err
    assert SECRET not in stopped.out + stopped.err
    assert len(logs) > 10
    assert holders(SECRET, texts=logs) == []


def test_wrong_credentials_are_one_message_without_them(s3_lake_uri, tmp_path, monkeypatch):
    source = logs_on_s3(s3_lake_uri, tmp_path)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", WRONG)
    local = aloha_source(tmp_path / "local", 1)

    ended = [
        run(["ingest", source, "--lake", str(tmp_path / "lake")], {}, driver="alone"),
        run(["ingest", str(local), "--lake", f"{s3_lake_uri}/lake"], {}, driver="alone"),
    ]

    for one in ended:
        assert (one.code, one.out) == (1, "")
        assert "Traceback" not in one.err
        assert WRONG not in one.err
    assert "cannot list 's3://" in ended[0].err
    assert "check the address, and the credentials" in ended[0].err
    assert "check the folder, or bucket and keys" in ended[1].err
    assert not (tmp_path / "lake").exists()


@pytest.mark.parametrize("words", ["ingest {odd} --lake {plain}", "ingest {plain} --lake {odd}", "lake info {odd}"])
def test_credentials_in_an_address_are_refused_before_anything_is_kept(s3, tmp_path, words):
    plain = str(aloha_source(tmp_path / "logs", 1))
    odd = f"s3://{KEY}:{WRONG}@{BUCKET}/lake"

    ended = run(words.format(odd=odd, plain=plain).split(), s3.environment, driver="alone")

    assert (ended.code, ended.out) == (1, "")
    assert "error: found credentials before the @ in an address" in ended.err
    assert f"s3://***@{BUCKET}/lake" in ended.err
    assert "Traceback" not in ended.err
    assert not any(part in ended.err for part in (WRONG, "planted", "0123456789"))
    assert [path.name for path in Path(plain).iterdir()] == ["episode_0.hdf5"]
