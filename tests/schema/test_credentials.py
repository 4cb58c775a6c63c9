"""Addresses that carry credentials are refused without being repeated, and texts lose every credential they hold."""

import pytest

from curation.lock import Lock
from ingest.location import Location
from schema.credentials import HIDDEN, check_address, masked
from schema.errors import ConfigError
from schema.lake import Lake

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCY"


@pytest.mark.parametrize(
    "uri",
    [
        f"s3://AKIA123:{SECRET}@bucket/logs",
        f"s3://AKIA123:{SECRET.replace('/', '%2F')}@bucket/logs",
        f"s3://{SECRET.replace('/', '')}@bucket/logs",
        f"s3a://:{SECRET}@bucket/logs",
        f"https://user:{SECRET}@host:8443/logs",
        f"sftp://user:{SECRET}@host/logs",
        f"https://bucket.host/logs/a.mcap?X-Amz-Signature={SECRET}&X-Amz-Date=1",
        f"az://container/logs?sv=2024&sig={SECRET}",
        f"simplecache::s3://AKIA123:{SECRET}@bucket/logs",
    ],
)
@pytest.mark.parametrize("opening", [check_address, Location.of, Lake, Lock.load], ids=lambda f: f.__qualname__)
def test_an_address_with_credentials_is_refused_without_repeating_them(uri, opening):
    with pytest.raises(ConfigError, match="put credentials in the environment") as raised:
        opening(uri)

    assert HIDDEN in str(raised.value)
    assert not any(part in str(raised.value) for part in (SECRET, "wJal", "bPxRf"))


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket/logs/monday@lab/a:b",
        "s3://arn:aws:s3:us-west-2:123456789012:accesspoint/lab/a@b",
        "abfs://container@account.dfs.core.windows.net/logs",
        "sftp://robot@host:22/logs",
        "hdfs://namenode:8020/logs/a@b",
        "http://127.0.0.1:8333/logs/a@b",
        "s3://bucket/what?",
        "file:///data/a?b=c:d@e",
        "/data/user:secret@host/a?b=c",
    ],
)
def test_an_address_that_only_looks_odd_is_none(uri):
    check_address(uri)


@pytest.mark.parametrize(
    "text",
    [
        f"cannot reach http://user:{SECRET}@proxy:8080/",
        f"GET /a?X-Amz-Credential={SECRET}&X-Amz-Signature={SECRET}",
        f"x-amz-security-token:{SECRET}",
        f"<SignatureProvided>{SECRET}</SignatureProvided>",
        f"Authorization: Bearer {SECRET}",
        f"FSSPEC_S3_SECRET={SECRET}",
        f"connect(secret_access_key='{SECRET}')".replace("'", ""),
    ],
)
def test_what_stands_where_a_credential_is_written_is_masked(text):
    assert SECRET not in masked(text)
    assert HIDDEN in masked(text)


@pytest.mark.parametrize(
    "name", ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "FSSPEC_S3_SECRET", "AZURE_STORAGE_KEY"]
)
def test_the_environments_own_credentials_are_masked_wherever_they_stand(monkeypatch, name):
    monkeypatch.setenv(name, SECRET)

    assert masked(f"bad header {SECRET!r}!") == f"bad header '{HIDDEN}'!"


@pytest.mark.parametrize(
    "text",
    [
        "found 3 tokens, expected a token: see s3://bucket/logs/a@b",
        "set RAY_AUTH_MODE=token if it asks for a token",
        "http://127.0.0.1:8333/a@b was not found",
        "the key 'episode_index' of a row=3",
    ],
)
def test_a_text_without_credentials_stays_as_it_is(text):
    assert masked(text) == text
