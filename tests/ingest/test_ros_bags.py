"""MCAP files, ROS 1 bags and ROS 2 bags of one and the same log, and what is cut, damaged or odd in them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import StoragePlugin

from ingest.detect import detect
from ingest.draft import draft
from ingest.formats import mcap, rosbag
from ingest.location import Location
from ingest.standardize import source_frames, standardize
from schema.embodiment import Embodiment, parse_embodiment
from schema.episode import Episode
from schema.errors import EpisodeError
from schema.picture import ImageSettings, encode_jpeg, store
from tests.ingest.ros_writers import (
    JOINTS,
    SHUFFLED,
    START_NS,
    Sent,
    image,
    joint_state,
    jpeg,
    number,
    position,
    ur5e,
    ur5e_log,
    words,
    write_mcap,
    write_rosbag1,
    write_rosbag2,
)
from tests.ingest.writers import INSTRUCTION, picture

WRITERS = {
    "mcap": lambda folder, log: write_mcap(folder / "a.mcap", log),
    "ros1": lambda folder, log: write_rosbag1(folder / "a.bag", log),
    "sqlite": lambda folder, log: write_rosbag2(folder / "bag", log),
    "rosbag2 mcap": lambda folder, log: write_rosbag2(folder / "bag", log, storage=StoragePlugin.MCAP),
}
each_format = pytest.mark.parametrize("name", WRITERS)


def read(folder: Path, index: int = 0) -> Any:
    location = Location.of(str(folder))
    reader, discovery = detect(location, None)
    return reader.read(location, discovery.records[index])


def episode_of(folder: Path, robot: Embodiment | None = None) -> Episode:
    location, robot = Location.of(str(folder)), robot or ur5e()
    reader, discovery = detect(location, None)
    record = discovery.records[0]
    return standardize(
        source_frames(reader.read(location, record), embodiment=robot, binding=robot.sources[reader.NAME]),
        embodiment=robot,
        binding=robot.sources[reader.NAME],
        source="here",
        settings=ImageSettings(),
        record=record,
        location=location,
        adapter=(reader.NAME, reader.VERSION),
    )


@each_format
def test_every_container_gives_the_same_episode(tmp_path, name):
    WRITERS[name](tmp_path, ur5e_log())

    episode = episode_of(tmp_path)

    assert episode.num_frames == 19
    times = episode.timestamp_T + 0.063  # the first command after the first gripper command
    np.testing.assert_allclose(
        episode.signals["state.joint_position"], np.stack([position(time) for time in times]), atol=1e-9
    )
    np.testing.assert_allclose(
        episode.signals["action.joint_position"], np.stack([position(time + 0.1) for time in times]), atol=1e-9
    )
    assert episode.signals["state.gripper"][:, 0].tolist() == [0.0] * 10 + [1.0] * 9
    assert len(episode.cameras["base"]) == 19
    assert (episode.camera_timestamps["base"] <= episode.timestamp_T).all()
    assert {f"timestamp.{signal}" for signal in episode.signals} <= set(episode.extras)
    assert (episode.task, episode.instructions[0].text) == (INSTRUCTION, INSTRUCTION)
    assert episode.recorded_at is not None
    assert episode.recorded_at.timestamp() == START_NS / 1e9


@each_format
def test_joints_come_in_the_order_of_the_binding_whatever_that_of_the_message(tmp_path, name):
    log = [joint_state(step / 20, position(1.0), topic="/joint_commands") for step in range(10)]
    for step in range(10):
        order = np.random.default_rng(step).permutation(6)
        names = [JOINTS[i] for i in order]
        log.append(joint_state(step / 20, position(1.0)[order], topic="/joint_states", names=names))
    log += [number(step / 20, 0, topic=f"/gripper/{kind}") for step in range(10) for kind in ("state", "command")]
    WRITERS[name](tmp_path, sorted([*log, jpeg(0, 0)], key=lambda sent: sent.time_s))

    found = episode_of(tmp_path).signals["state.joint_position"]

    np.testing.assert_array_equal(found, np.tile(position(1.0), (10, 1)))


def test_streams_keep_the_logs_own_order_and_say_their_names(tmp_path):
    write_mcap(tmp_path / "a.mcap", ur5e_log())

    raw = read(tmp_path)

    assert raw.names["/joint_states.position"] == tuple(JOINTS[i] for i in SHUFFLED)
    assert raw.fields["/joint_states.position"].shape == (51, 6)
    assert len(raw.clocks["/joint_states.position"]) == 51
    assert "/joint_states.velocity" not in raw.fields  # the messages have none


def test_a_missing_joint_is_named_with_what_there_is(tmp_path):
    log = [item for item in ur5e_log() if item.topic != "/joint_states"]
    log += [joint_state(step / 20, np.zeros(5), topic="/joint_states", names=JOINTS[:5]) for step in range(20)]
    write_mcap(tmp_path / "a.mcap", log)

    with pytest.raises(EpisodeError, match=r"wrist_3_joint.*called shoulder_pan_joint") as caught:
        episode_of(tmp_path)
    assert caught.value.reason == "width_mismatch"


def test_two_nodes_on_one_topic_are_two_streams(tmp_path):
    log = ur5e_log()
    log += [joint_state(step / 30, [0.1], topic="/joint_states", names=["finger_joint"]) for step in range(30)]
    write_mcap(tmp_path / "a.mcap", log)

    raw = read(tmp_path)

    assert raw.fields["/joint_states.position"].shape == (51, 6)
    assert raw.fields["/joint_states#finger_joint.position"].shape == (30, 1)


def test_poses_twists_and_trajectories_of_one_point_are_vectors_with_names(tmp_path):
    from tests.ingest.ros_writers import ROS2  # noqa: PLC0415

    types = ROS2.types
    point = types["geometry_msgs/msg/Point"](1.0, 2.0, 3.0)
    turn = types["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0)
    pose = types["geometry_msgs/msg/Pose"](point, turn)
    step = types["trajectory_msgs/msg/JointTrajectoryPoint"](
        np.array([0.5]), np.zeros(0), np.zeros(0), np.zeros(0), types["builtin_interfaces/msg/Duration"](0, 0)
    )
    log = [
        Sent(topic="/pose", kind="geometry_msgs/msg/PoseStamped", time_s=0, fields={"pose": pose}),
        *(
            Sent(
                topic=f"/command{count}",
                kind="trajectory_msgs/msg/JointTrajectory",
                time_s=0,
                fields={"joint_names": ["a"], "points": [step] * count},
            )
            for count in (1, 2)
        ),
    ]
    write_mcap(tmp_path / "a.mcap", log)

    raw = read(tmp_path)

    assert raw.fields["/pose.pose.position"].tolist() == [[1.0, 2.0, 3.0]]
    assert raw.names["/pose.pose.orientation"] == ("x", "y", "z", "w")
    assert raw.fields["/command1.positions"].tolist() == [[0.5]]
    assert raw.not_stored == {"/command2": 1}  # a plan is no command of the moment


@pytest.mark.parametrize(("encoding", "channels"), [("rgb8", 3), ("bgr8", 3), ("rgba8", 4), ("bgra8", 4)])
@each_format
def test_raw_pictures_become_rgb(tmp_path, name, encoding, channels):
    pixels = picture(1)
    stored = pixels[..., ::-1] if encoding.startswith("b") else pixels
    if channels == 4:
        stored = np.concatenate([stored, np.full((*stored.shape[:2], 1), 9, np.uint8)], axis=2)
    log = [item for item in ur5e_log() if item.topic != "/camera/base"]
    WRITERS[name](tmp_path, [image(0.0, np.ascontiguousarray(stored), encoding=encoding), *log])

    (found,) = read(tmp_path).pictures["/camera/base"]

    np.testing.assert_array_equal(found, pixels)


def test_depth_is_counted_and_not_stored(tmp_path):
    depth = image(0.0, np.zeros((4, 4), np.uint16), encoding="16UC1", topic="/depth")
    packed = jpeg(0.0, 0, topic="/packed", kind="16UC1; compressedDepth png")
    write_mcap(tmp_path / "a.mcap", [depth, packed, *ur5e_log()])

    raw = read(tmp_path)

    assert raw.not_stored == {"/depth": 1, "/packed": 1}
    assert set(raw.pictures) == {"/camera/base"}


@each_format
def test_what_a_message_carries_beside_its_small_numbers_is_named_and_counted(tmp_path, name):
    angles = dict.fromkeys(
        ("angle_min", "angle_max", "angle_increment", "time_increment", "scan_time", "range_min", "range_max"), 0.5
    )
    ranges = {"ranges": np.ones(360, np.float32), "intensities": np.ones(0, np.float32)}
    scan = Sent(topic="/scan", kind="sensor_msgs/msg/LaserScan", time_s=0.0, fields={**angles, **ranges})
    WRITERS[name](tmp_path, [scan, *ur5e_log()])

    raw = read(tmp_path)

    assert raw.not_stored == {"/scan.ranges": 1}
    assert raw.fields["/scan.angle_min"].tolist() == [[0.5]]


def test_a_picture_whose_sizes_disagree_is_the_episodes_error(tmp_path):
    broken = image(0.0, picture(), encoding="rgb8")
    broken = replace(broken, fields={**broken.fields, "height": 60_000})
    write_mcap(tmp_path / "a.mcap", [broken, *(item for item in ur5e_log() if item.topic != "/camera/base")])

    with pytest.raises(EpisodeError, match="do not fit together") as caught:
        list(read(tmp_path).pictures["/camera/base"])
    assert caught.value.reason == "bad_picture"


def test_jpeg_bytes_pass_through(tmp_path):
    write_mcap(tmp_path / "a.mcap", ur5e_log())
    assert next(iter(read(tmp_path).pictures["/camera/base"])) == encode_jpeg(picture(0))


def test_stamps_of_a_machine_with_another_clock_give_way_to_the_recorders_times(tmp_path):
    log = [item for item in ur5e_log() if item.topic != "/camera/base"]
    log += [jpeg(-5000 + step / 10, step) for step in range(11)]
    shifted = [replace(item, delay_s=5000.0) if item.topic == "/camera/base" else item for item in log]
    write_mcap(tmp_path / "a.mcap", shifted)

    raw = read(tmp_path)

    assert raw.clocks["/camera/base"][0] == pytest.approx(0.0)
    assert any("/camera/base: stamps are 5000.000 s off the recorder's clock" in note for note in raw.notes)


def test_late_messages_keep_the_time_of_their_stamp(tmp_path):
    log = [replace(item, delay_s=0.3 * item.kind.startswith("sensor_msgs")) for item in ur5e_log()]
    write_mcap(tmp_path / "a.mcap", log)
    assert episode_of(tmp_path).num_frames == 19


def test_metadata_is_taken_or_noted(tmp_path):
    told = {"robot": "ur5e", "task": "cups", "instruction": "stack the cups", "success": "false", "colour": "red"}
    write_mcap(tmp_path / "a.mcap", ur5e_log(), metadata=told)

    raw = read(tmp_path)

    assert (raw.task, raw.instructions[0].text, raw.success) == ("cups", "stack the cups", False)
    assert "metadata: colour = 'red'" in raw.notes


@pytest.mark.parametrize("storage", StoragePlugin)
def test_the_custom_data_of_a_rosbag2_folder_is_taken(tmp_path, storage):
    write_rosbag2(tmp_path / "bag", ur5e_log(), storage=storage, custom={"robot": "ur5e", "task": "cups"})

    raw = read(tmp_path)

    _, discovery = detect(Location.of(str(tmp_path)), None)
    assert (raw.task, discovery.robot) == ("cups", "ur5e")


def test_several_instructions_are_noted_and_the_first_is_taken(tmp_path):
    write_mcap(tmp_path / "a.mcap", [*ur5e_log(), words(0.9, "now the other")])

    raw = read(tmp_path)

    assert raw.instructions[0].text == INSTRUCTION
    assert any("2 instructions" in note for note in raw.notes)


def test_a_robot_without_a_name_is_called_what_its_joints_begin_with(tmp_path):
    names = [f"panda_joint{i}" for i in range(7)]
    log = [joint_state(step / 20, np.zeros(7), topic="/joint_states", names=names) for step in range(5)]
    write_rosbag1(tmp_path / "a.bag", log)
    assert detect(Location.of(str(tmp_path)), None)[1].robot == "panda"


def test_one_file_is_one_episode_and_listed_files_are_one_together(tmp_path):
    log = ur5e_log()
    write_mcap(tmp_path / "single/b.mcap", log)
    write_mcap(tmp_path / "single/a.mcap", log)
    write_rosbag2(tmp_path / "split", log, storage=StoragePlugin.MCAP)
    (tmp_path / "split/split.mcap").unlink()
    write_mcap(tmp_path / "split/split_0.mcap", log[: len(log) // 2])
    write_mcap(tmp_path / "split/split_1.mcap", log[len(log) // 2 :])
    told = (tmp_path / "split/metadata.yaml").read_text()
    (tmp_path / "split/metadata.yaml").write_text(told.replace("- split.mcap", "- split_0.mcap\n  - split_1.mcap"))

    _, discovery = detect(Location.of(str(tmp_path)), None)

    assert [record.files for record in discovery.records] == [
        ("single/a.mcap",),
        ("single/b.mcap",),
        ("split/split_0.mcap", "split/split_1.mcap"),
    ]
    whole, parts = read(tmp_path, 0), read(tmp_path, 2)
    np.testing.assert_array_equal(whole.fields["/joint_states.position"], parts.fields["/joint_states.position"])
    assert len(list(parts.pictures["/camera/base"])) == 11


@pytest.mark.parametrize("compression", CompressionType)
def test_every_compression_of_mcap_is_read(tmp_path, compression):
    write_mcap(tmp_path / "a.mcap", ur5e_log(), compression=compression)
    assert episode_of(tmp_path).num_frames == 19


@pytest.mark.parametrize("compression", Writer1.CompressionFormat)
def test_every_compression_of_ros_1_is_read(tmp_path, compression):
    write_rosbag1(tmp_path / "a.bag", ur5e_log(), compression=compression)
    assert episode_of(tmp_path).num_frames == 19


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_an_mcap_file_without_its_footer_is_refused_and_told_how_to_mend(tmp_path, share):
    path = write_mcap(tmp_path / "a.mcap", ur5e_log())
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    with pytest.raises(EpisodeError, match=r"mcap recover.*a\.mcap") as caught:
        read(tmp_path)
    assert caught.value.reason == "cut_file"


def test_a_flipped_bit_in_an_mcap_chunk_is_found_by_its_checksum(tmp_path):
    path = write_mcap(tmp_path / "a.mcap", ur5e_log(), compression=CompressionType.NONE)
    content = bytearray(path.read_bytes())
    place = content.index(np.float64(position(0.5)[0]).tobytes())
    content[place] ^= 1
    path.write_bytes(content)

    with pytest.raises(EpisodeError, match="crc validation failed") as caught:
        read(tmp_path)
    assert caught.value.reason == "unreadable_mcap"


def test_a_chunk_that_says_it_is_huge_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    write_mcap(tmp_path / "a.mcap", ur5e_log())
    monkeypatch.setattr(mcap, "MAX_CHUNK_BYTES", 1000)

    with pytest.raises(EpisodeError, match="expected 1000 at most") as caught:
        read(tmp_path)
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize("compression", Writer1.CompressionFormat)
def test_a_ros_1_chunk_that_becomes_huge_is_refused_while_it_is_unpacked(tmp_path, monkeypatch, compression):
    write_rosbag1(tmp_path / "a.bag", ur5e_log(), compression=compression)
    monkeypatch.setattr(rosbag, "MAX_CHUNK_BYTES", 1000)

    with pytest.raises(EpisodeError, match="more than 1000 bytes") as caught:
        read(tmp_path)
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize("name", ["ros1", "sqlite"])
def test_a_cut_bag_is_refused(tmp_path, name):
    WRITERS[name](tmp_path, ur5e_log())
    file = max((path for path in tmp_path.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])

    with pytest.raises(EpisodeError, match="not a whole bag") as caught:
        read(tmp_path)
    assert caught.value.reason == "unreadable_bag"


def metadata_of(tmp_path: Path, change: dict[str, str]) -> EpisodeError:
    write_rosbag2(tmp_path / "bag", ur5e_log())
    file = tmp_path / "bag/metadata.yaml"
    text = file.read_text()
    for old, new in change.items():
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)
    with pytest.raises(EpisodeError) as caught:
        read(tmp_path)
    return caught.value


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"- bag.db3": "- ../../other.db3"}, "outside_source"),
        ({"- bag.db3": "- /etc/passwd"}, "outside_source"),
        ({"- bag.db3": "- gone.db3"}, "missing_data"),
        ({"compression_mode: ''": "compression_mode: FILE"}, "packed_bag"),
        ({"compression_mode: ''": "compression_mode: [[x], [x]]"}, "unreadable_bag"),
        ({"rosbag2_bagfile_information": "something_else"}, "unreadable_bag"),
        ({"rosbag2_bagfile_information:": "a: !!python/object/apply:os.system [echo]\nb:"}, "unreadable_bag"),
    ],
)
def test_a_description_that_cannot_be_followed_is_a_quarantined_record(tmp_path, change, reason):
    assert metadata_of(tmp_path, change).reason == reason


def test_a_link_out_of_the_source_is_refused(tmp_path):
    write_mcap(tmp_path / "elsewhere/a.mcap", ur5e_log())
    (tmp_path / "source").mkdir()
    (tmp_path / "source/a.mcap").symlink_to(tmp_path / "elsewhere/a.mcap")

    with pytest.raises(EpisodeError, match="leads out of its source") as caught:
        read(tmp_path / "source")
    assert caught.value.reason == "outside_source"


def test_channels_in_other_encodings_are_counted(tmp_path):
    with (tmp_path / "a.mcap").open("wb") as stream:
        writer = McapWriter(stream)
        writer.start()
        schema = writer.register_schema("thing", "jsonschema", b"{}")
        channel = writer.register_channel("/thing", "json", schema)
        writer.add_message(channel, log_time=1, publish_time=1, data=b"{}")
        writer.finish()

    with pytest.raises(EpisodeError, match="no stream of numbers") as caught:
        read(tmp_path)
    assert caught.value.reason == "no_robot_data"


def test_the_digest_is_of_the_bytes_wherever_they_lie(tmp_path):
    path = write_mcap(tmp_path / "a/x.mcap", ur5e_log())
    (tmp_path / "b").mkdir()
    (tmp_path / "b/y.mcap").write_bytes(path.read_bytes())
    write_mcap(tmp_path / "c/x.mcap", ur5e_log(seconds=0.9))

    digests = [read(tmp_path / name).digest for name in "abc"]

    assert digests[0] == digests[1] != digests[2]


def test_a_log_of_states_alone_takes_the_next_state_for_its_action_and_says_so(tmp_path):
    write_mcap(tmp_path / "a.mcap", [item for item in ur5e_log() if item.topic == "/joint_states"])
    joints = ",".join(JOINTS)
    signals = {
        "state.joint_position": f"/joint_states.position[{joints}]",
        "action.joint_position": f"/joint_states.position[{joints}] | next_step",
    }

    episode = episode_of(tmp_path, ur5e(signals=signals, cameras={}))

    state, action = episode.signals["state.joint_position"], episode.signals["action.joint_position"]
    np.testing.assert_array_equal(action[:-1], state[1:])
    np.testing.assert_array_equal(action[-1], state[-1])
    assert any("action.joint_position is no recorded command" in note for note in episode.provenance.notes)


def test_the_fixture_of_one_message_of_each_kind_holds_no_episode_of_a_robot(real_logs):
    folder = real_logs / "mcap_ros2_fixture"
    joints = "shoulder_joint,elbow_joint,wrist_joint,gripper_joint"
    signals = {
        "state.joint_position": f"/joint_state.position[{joints}]",
        "action.joint_position": f"/joint_state.position[{joints}] | next_step",
    }

    with pytest.raises(EpisodeError, match="'/compressed_image' says nothing for") as caught:
        episode_of(folder, ur5e(signals=signals, cameras={"base": "/compressed_image"}))
    assert caught.value.reason == "clock_gap"  # one picture, and then joints that move for a second and a half


def test_a_draft_binds_joints_by_name(tmp_path):
    write_mcap(tmp_path / "a.mcap", ur5e_log())
    _, discovery = detect(Location.of(str(tmp_path)), None)

    table = parse_embodiment(draft(discovery), where="draft")

    bound = table.sources["mcap"].signals
    states = f"/joint_states.position[{','.join(JOINTS[i] for i in SHUFFLED)}]"
    assert [name.split(".")[0] for name, field in bound.items() if field == states] == ["state"]
    commands = f"/joint_commands.position[{','.join(JOINTS)}]"
    assert [name.split(".")[0] for name, field in bound.items() if field == commands] == ["action"]
    assert list(table.sources["mcap"].cameras.values()) == ["/camera/base"]


def test_a_jpeg_that_says_it_is_huge_is_refused_before_it_is_decoded(tmp_path):
    bomb = bytearray(encode_jpeg(picture()))
    place = bomb.index(b"\xff\xc0") + 5
    bomb[place : place + 4] = (65_500).to_bytes(2, "big") * 2
    sent = replace(jpeg(0.0, 0), fields={"format": "jpeg", "data": np.frombuffer(bytes(bomb), np.uint8)})
    write_mcap(tmp_path / "a.mcap", [sent, *(item for item in ur5e_log() if item.topic != "/camera/base")])

    with pytest.raises(EpisodeError, match="a picture of 65500 × 65500") as caught:
        store(next(iter(read(tmp_path).pictures["/camera/base"])), ImageSettings())
    assert caught.value.reason == "absurd_size"
