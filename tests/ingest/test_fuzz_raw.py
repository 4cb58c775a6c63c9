"""Mutated files of the formats that lie as single files and pickles: refused by name, or taken as another episode.

`FUZZ_CASES=2000 pytest -n2 tests/ingest/test_fuzz_raw.py` tries as many of each.
"""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from ingest.detect import format_named
from tests.ingest.mutation import fates, mutate
from tests.ingest.raw_writers import UUID, write_bridge, write_droid, write_mobile_aloha, write_robomimic

CASES = int(os.environ.get("FUZZ_CASES", "24"))
ROBOTS = {"aloha": "mobile_trossen", "droid_raw": "franka_droid", "bridge_raw": "widowx", "robomimic": "panda_sim"}


def write_log(form: str, folder: Path) -> list[Path]:
    """A log of the format; the files of it to damage, the likelier ones more than once."""
    if form == "aloha":
        return [write_mobile_aloha(folder / "episode_0.hdf5")]
    if form == "robomimic":
        return [write_robomimic(folder / "demos.hdf5")]
    if form == "bridge_raw":
        trajectory = write_bridge(folder, cameras=1)
        names = ("obs_dict.pkl", "policy_out.pkl", "agent_data.pkl", "lang.txt", "images0/im_2.jpg")
        return [trajectory / name for name in names]
    episode = write_droid(folder, mp4=("wrist_left", "exterior_1_left"), annotations={UUID: {}})
    return [episode / name for name in ("trajectory.h5", "trajectory.h5", "recordings/MP4/111.mp4")] + [
        episode / f"metadata_{UUID}.json"
    ]


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """Per format a whole log, its files and what becomes of its records."""
    found = {}
    for form, robot in ROBOTS.items():
        folder = tmp_path_factory.mktemp(form)
        files = write_log(form, folder)
        whole = fates(folder, reader=format_named(form), embodiment=robot)
        assert all(fate.digest for fate in whole)
        found[form] = (folder, files, {fate.digest: fate.content for fate in whole})
    return found


@pytest.mark.parametrize("seed", range(CASES))
@pytest.mark.parametrize("form", ROBOTS)
def test_a_mutated_file_is_refused_by_name_or_taken_as_another_episode(logs, tmp_path, form, seed):
    folder, files, whole = logs[form]
    random = np.random.default_rng(seed)
    copy = Path(shutil.copytree(folder, tmp_path / "log"))
    file = copy / files[random.integers(len(files))].relative_to(folder)
    file.write_bytes(mutate(file.read_bytes(), random))

    found = fates(copy, reader=format_named(form), embodiment=ROBOTS[form])

    for fate in found:
        assert fate.digest is not None or _names_the_place(fate.message, file)
        assert fate.digest is None or whole.get(fate.digest, fate.content) == fate.content


def _names_the_place(message: str, file: Path) -> bool:
    """The file, the folder it is part of, the signal, or the camera and picture, which the file holds."""
    return any(word in message for word in (file.name, file.parent.name, "picture ", "state.", "action.")) or (
        "time goes from" in message
    )
