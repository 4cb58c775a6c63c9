"""`robomix ingest` as people and scripts meet it: exit codes, one clear message for each mistake, JSON at the end."""

import json
import signal
import sys
import time

import h5py
import numpy as np
import pytest

import robomix
from schema.embodiment import load_embodiment
from schema.lake import Lake
from tests.ingest.driving import aloha_source, closes, ended, run, start
from tests.ingest.ros_writers import ur5e_log, write_mcap
from tests.ingest.writers import lerobot_columns, rlds_episode, write_lerobot, write_rlds

pytest_plugins = ["tests.ingest.ray_cluster"]


@pytest.fixture
def command(monkeypatch, capsys):
    """Run a command line in this process: (exit code, standard output, standard error)."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["robomix", *map(str, words)])
        capsys.readouterr()
        code = 0
        try:
            robomix.main()
        except SystemExit as stop:
            code = stop.code or 0
        return code, *capsys.readouterr()

    return call


def error_of(found):
    """The message of a command that failed with exit code 1 and said nothing else."""
    code, out, err = found
    assert (code, out) == (1, "")
    assert "Traceback" not in err
    return err.partition("error: ")[2]


# ── words that are off, places that are wrong ──────────────────────────────────────────────────────────────────────


def test_an_empty_folder_is_one_message(command, tmp_path):
    (tmp_path / "empty").mkdir()

    message = error_of(command("ingest", tmp_path / "empty", "--lake", tmp_path / "lake"))

    assert message.startswith("found nothing at ")
    assert "expected a folder or file with robot logs; check the path" in message
    assert not (tmp_path / "lake").exists()


def test_a_path_that_does_not_exist_is_one_message(command, tmp_path):
    message = error_of(command("ingest", tmp_path / "nowhere", "--lake", tmp_path / "lake"))

    assert "nowhere" in message
    assert "check the path" in message


def test_an_unknown_format_lists_the_choices(command, tmp_path):
    message = error_of(command("ingest", aloha_source(tmp_path / "logs", 1), "--lake", "L", "--format", "rosbag9"))

    assert message.startswith("unknown format 'rosbag9': choose one of ")
    assert "aloha" in message


def test_a_format_that_the_logs_are_not_of_says_what_was_found(command, tmp_path):
    message = error_of(command("ingest", aloha_source(tmp_path / "logs", 2), "--lake", "L", "--format", "rlds"))

    assert "found 2 files (2 .hdf5; the first is 'episode_0.hdf5'), not 'rlds'" in message


def test_a_folder_of_other_files_says_what_was_found_and_tried(command, tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/notes.txt").write_text("hello")

    message = error_of(command("ingest", tmp_path / "logs", "--lake", tmp_path / "lake"))

    assert "found 1 files (1 .txt; the first is 'notes.txt'), none of the formats" in message


def test_an_unknown_embodiment_lists_the_choices(command, tmp_path):
    source = aloha_source(tmp_path / "logs", 1)

    message = error_of(command("ingest", source, "--lake", tmp_path / "lake", "--embodiment", "r2d2"))

    assert "'r2d2'" in message
    assert "bimanual_trossen" in message


def test_an_embodiment_that_does_not_bind_the_format_says_what_to_add(command, tmp_path):
    source = write_rlds(tmp_path / "logs").parent

    message = error_of(command("ingest", source, "--lake", tmp_path / "lake", "--embodiment", "bimanual_trossen"))

    assert "add a [sources.rlds] table" in message


def test_a_robot_that_no_table_fits_says_how_to_get_one(command, tmp_path):
    source = write_lerobot(tmp_path / "logs", num_episodes=1, info={"robot_type": "r2d2"})

    message = error_of(command("ingest", source, "--lake", tmp_path / "lake"))

    assert "the log calls its robot 'r2d2'" in message
    assert "run with --dry-run for a draft" in message


def test_a_bad_source_name_offers_a_good_one(command, tmp_path):
    source = aloha_source(tmp_path / "logs", 1)

    message = error_of(command("ingest", source, "--lake", tmp_path / "lake", "--source", "My Logs!"))

    assert message.startswith("source name 'My Logs!': expected a-z, 0-9 and _ only; 'my_logs' would do")


def test_a_lake_that_is_another_folder_is_left_alone(command, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter.tex").write_text("…")

    message = error_of(command("ingest", aloha_source(tmp_path / "logs", 1), "--lake", tmp_path / "thesis"))

    assert "is no lake and not empty (it holds chapter.tex…): choose a new folder" in message
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter.tex"]


def test_a_lake_that_is_a_file_is_one_message(command, tmp_path):
    (tmp_path / "file").write_text("…")

    assert "no lake" in error_of(command("ingest", aloha_source(tmp_path / "logs", 1), "--lake", tmp_path / "file"))


@pytest.mark.parametrize(
    "words", [["--limit", "0"], ["--limit", "many"], ["--speed", "11"], [], ["--lake"]], ids=" ".join
)
def test_words_that_are_off_end_with_code_2(command, tmp_path, words):
    lake = ["--lake", tmp_path / "lake"] if words and words != ["--lake"] else []

    code, out, err = command("ingest", aloha_source(tmp_path / "logs", 1), *lake, *words)

    assert (code, out) == (2, "")
    assert "Traceback" not in err
    assert "--" in err
    assert not (tmp_path / "lake").exists()


# ── dry runs ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(command, tmp_path):
    source = aloha_source(tmp_path / "logs", 3)

    code, out, _ = command("ingest", source, "--lake", tmp_path / "lake", "--dry-run")

    assert code == 0
    assert "source logs: 3 records, aloha, robot 'aloha'" in out
    assert "embodiment bimanual_trossen" in out
    assert "camera cam_high" in out
    assert not (tmp_path / "lake").exists()


def test_a_dry_run_tells_how_streams_with_clocks_of_their_own_become_frames(command, tmp_path):
    write_mcap(tmp_path / "logs/a.mcap", ur5e_log(), metadata={"robot": "ur5e"})

    code, out, _ = command("ingest", tmp_path / "logs", "--dry-run")

    assert code == 0
    assert "rule: frames follow the first action; where samples around a frame are more than 0.5 s apart" in out
    assert "rule: state.joint_position: linear between the samples around the frame" in out
    assert "rule: state.gripper: the newest sample that is not younger than the frame" in out
    assert "rule: camera base: the newest picture that is not younger" in out


@pytest.mark.parametrize(("told", "said"), [(None, "not known, neither the log nor the table says"), ("mit", "mit")])
def test_a_dry_run_tells_the_licence_or_that_it_is_not_known(command, tmp_path, told, said):
    write_lerobot(tmp_path / "logs", num_episodes=1, info={"license": told})

    _, out, _ = command("ingest", tmp_path / "logs", "--dry-run")

    assert f"licence: {said}\n" in out


@pytest.mark.usefixtures("cluster")
def test_a_dry_run_tells_what_is_new(command, tmp_path):
    source, lake = aloha_source(tmp_path / "logs", 3), tmp_path / "lake"
    command("ingest", source, "--lake", lake, "--limit", 2)
    version = Lake.open(str(lake)).version("episodes")

    _, out, _ = command("ingest", source, "--lake", lake, "--dry-run")

    assert out.splitlines()[-1].endswith("or its quarantine already, 1 are new")
    assert Lake.open(str(lake)).version("episodes") == version


@pytest.mark.usefixtures("cluster")
def test_the_draft_of_a_dry_run_ingests_the_robot_and_is_kept_in_the_lake(command, tmp_path):
    source = write_lerobot(tmp_path / "logs", info={"robot_type": "r2d2"})
    dry, draft, _ = command("ingest", source, "--dry-run")
    (tmp_path / "r2d2.toml").write_text(draft)

    code, out, err = command("ingest", source, "--lake", tmp_path / "lake", "--embodiment", tmp_path / "r2d2.toml")

    assert (dry, code) == (0, 0), err
    assert "2 discovered = 2 committed + 0 duplicate + 0 superseded + 0 quarantined" in out
    (tmp_path / "r2d2.toml").rename(tmp_path / "moved.toml")
    lake = Lake.open(str(tmp_path / "lake"))
    (digest,) = lake.episodes().collect()["embodiment_table"].unique()
    assert lake.embodiment(digest) == load_embodiment(str(tmp_path / "moved.toml"))


# ── bad logs ───────────────────────────────────────────────────────────────────────────────────────────────────────


def truncated_tfrecord(folder):
    shard = write_rlds(folder)
    shard.write_bytes(shard.read_bytes()[:-40])


def crc_mismatch(folder):
    shard = write_rlds(folder)
    content = bytearray(shard.read_bytes())
    content[-40] ^= 0xFF
    shard.write_bytes(content)


def missing_video(folder):
    next(write_lerobot(folder, num_episodes=3).rglob("observation.images.base/episode_000001.mp4")).unlink()


def half_an_hdf5(folder):
    path = aloha_source(folder, 3) / "episode_1.hdf5"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def not_a_number_in_an_action(folder):
    aloha_source(folder, 3)
    with h5py.File(folder / "episode_1.hdf5", "r+") as file:
        file["action"][1, 3] = np.nan


BAD_LOGS = {
    truncated_tfrecord: ("--embodiment", "widowx"),
    crc_mismatch: ("--embodiment", "widowx"),
    missing_video: (),
    half_an_hdf5: (),
    not_a_number_in_an_action: (),
}
REASONS = {
    truncated_tfrecord: "truncated",
    crc_mismatch: "crc_mismatch",
    missing_video: "missing_video",
    half_an_hdf5: "unreadable_hdf5",
    not_a_number_in_an_action: "not_finite",
}


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("bad", BAD_LOGS, ids=lambda bad: bad.__name__)
def test_a_bad_episode_is_in_quarantine_the_others_are_committed_and_the_code_is_3(command, tmp_path, bad):
    bad(tmp_path / "logs")

    code, out, err = command("ingest", tmp_path / "logs", *BAD_LOGS[bad], "--lake", tmp_path / "lake")

    assert code == 3, err
    assert "3 discovered = 2 committed + 0 duplicate + 0 superseded + 1 quarantined" in out
    assert f"quarantine: 1 × {REASONS[bad]}" in out
    assert "mend the logs and run the same command again" in out
    row = Lake.open(str(tmp_path / "lake")).quarantine().collect().row(0, named=True)
    assert row["reason"].startswith(REASONS[bad])
    assert len(row["message"]) > 20
    assert "Traceback" not in out + err


@pytest.mark.usefixtures("cluster")
def test_a_log_whose_only_episode_is_bad_is_told_the_same_way(command, tmp_path):
    write_rlds(tmp_path / "logs", [rlds_episode(0, steps__action=np.full((6, 7), np.nan, np.float32))])

    code, out, _ = command("ingest", tmp_path / "logs", "--embodiment", "widowx", "--lake", tmp_path / "lake", "--json")

    account = json.loads(out)
    assert code == 3
    assert (account["discovered"], account["quarantined"], account["frames"]) == (1, 1, 0)
    assert account["quarantine"] == {"not_finite": 1}


@pytest.mark.usefixtures("cluster")
def test_a_column_of_another_width_is_told_with_both_widths(command, tmp_path):
    narrow = {"action": lerobot_columns(0)["timestamp"]}
    write_lerobot(tmp_path / "logs", num_episodes=1, columns=narrow)

    code, _, _ = command("ingest", tmp_path / "logs", "--lake", tmp_path / "lake")

    message = Lake.open(str(tmp_path / "lake")).quarantine().collect()["message"][0]
    assert code == 3
    assert "'action'" in message


# ── as a process ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_json_is_the_only_line_of_standard_output_and_progress_goes_to_standard_error(cluster, tmp_path):
    source = aloha_source(tmp_path / "logs", 3, steps=4)
    words = ["ingest", "logs", "--json", "--lake", "lake"]
    (tmp_path / "home").mkdir()

    first = run(words, cluster, cwd=tmp_path, HOME=str(tmp_path / "home"))
    second = run(words, cluster, cwd=tmp_path)

    assert (first.code, second.code) == (0, 0), first.err
    assert len(first.out.splitlines()) == len(second.out.splitlines()) == 1
    assert closes(first.account)
    assert (first.account["committed"], first.account["frames"], first.account["discovered"]) == (3, 12, 3)
    assert (second.account["committed"], second.account["duplicate"], second.account["frames"]) == (0, 3, 0)
    assert "3/3 episodes" in first.err
    assert "nothing new to commit" in second.err
    assert first.account["lake"] == (tmp_path / "lake").as_uri()
    assert source.is_dir()


@pytest.mark.slow
def test_without_a_cluster_it_starts_its_own_from_any_folder_with_an_empty_home(tmp_path):
    aloha_source(tmp_path / "logs", 2)
    (tmp_path / "home").mkdir()
    alone = {"RAY_ADDRESS": "", "RAY_AUTH_MODE": "", "HOME": str(tmp_path / "home")}

    found = run(["ingest", "logs", "--lake", "lake"], alone, cwd=tmp_path)

    assert found.code == 0, found.err
    assert "2 discovered = 2 committed" in found.out
    assert (tmp_path / "home/.ray/auth_token").exists()  # by Ray, for the cluster that it has started
    assert "token" not in (found.err + found.out).lower()
    assert "dashboard" not in (found.err + found.out).lower()


def test_ctrl_c_stops_with_one_line_and_the_same_command_goes_on(cluster, tmp_path):
    words = ["ingest", str(aloha_source(tmp_path / "logs", 40)), "--json", "--lake", str(tmp_path / "lake")]
    driver = start(words, cluster, driver="alone")
    while not list((tmp_path / "lake").glob("shards/*/*.tar")) and driver.poll() is None:
        time.sleep(0.005)
    driver.send_signal(signal.SIGINT)

    stopped = ended(driver)
    again = run(words, cluster, driver="alone")

    assert stopped.code == 130
    assert stopped.err.splitlines()[-1] == "stopped; the same command goes on where it was"
    assert "robomix.py" not in stopped.err  # Python may tell of an exception that it ignored in a library's callback
    assert again.code == 0, again.err
    assert again.account["discovered"] == 40
    assert closes(again.account)
