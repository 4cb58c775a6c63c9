"""One place has one name, however it is spelled."""

import pytest

from schema.store import open_store


@pytest.mark.parametrize("spelling", ["logs", "./logs/", "logs/../logs", "elsewhere/logs"])
def test_a_local_place_is_spelled_in_one_way(tmp_path, monkeypatch, spelling):
    (tmp_path / "logs").mkdir()
    (tmp_path / "elsewhere").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)

    fs, root = open_store(spelling)

    assert root == str((tmp_path / "logs").resolve())
    assert fs.exists(root)


def test_a_remote_place_keeps_its_spelling():
    assert open_store("memory://lab/lake")[1] == "/lab/lake"
