"""RLDS: TFRecord framing, tf.train.Example, TFDS folders; whole, cut and damaged."""

import json
import zlib
from io import BytesIO

import fsspec
import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from ingest.formats import rlds
from ingest.formats.tf_example import Example, parse_example, values_of
from ingest.formats.tfrecord import masked_crc, scan, unframe
from ingest.location import Location
from schema.errors import EpisodeError, SourceError
from tests.ingest.writers import (
    INSTRUCTION,
    T,
    example,
    frame_tfrecord,
    picture,
    png,
    rlds_episode,
    rlds_features,
    write_rlds,
)

FLOATS = st.lists(st.floats(width=32, allow_nan=False), max_size=20)
INTS = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20)


def discover(folder):
    location = Location.of(str(folder))
    discovery = rlds.discover(location)
    assert discovery is not None
    return location, discovery


def read(folder, index=0):
    location, discovery = discover(folder)
    return rlds.read(location, discovery.records[index])


@pytest.mark.parametrize(
    ("data", "crc"),
    [
        (b"\x00" * 32, 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (b"123456789", 0xE3069283),
    ],
)
def test_the_checksum_is_the_masked_crc32c_of_known_vectors(data, crc):
    assert masked_crc(data) == (((crc >> 15) | (crc << 17 & 0xFFFFFFFF)) + 0xA282EAD8) & 0xFFFFFFFF


@given(st.lists(st.binary(max_size=200), max_size=8))
def test_framing_gives_back_what_was_framed(payloads):
    file = b"".join(map(frame_tfrecord, payloads))

    found = scan(BytesIO(file), len(file), file="f")

    assert found.problem is None
    assert [unframe(file[a:b], file="f", byte_start=a) for a, b in found.records] == payloads


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=4), st.data())
def test_a_cut_file_gives_its_whole_records_and_says_where_it_breaks(payloads, data):
    frames = [frame_tfrecord(payload) for payload in payloads]
    file = b"".join(frames)[: data.draw(st.integers(1, len(b"".join(frames)) - 1))]
    ends = np.cumsum([len(frame) for frame in frames])
    whole = int((ends <= len(file)).sum())

    found = scan(BytesIO(file), len(file), file="f")

    assert len(found.records) == whole
    is_between = len(file) in ends
    assert (found.problem is None) == is_between
    assert found.broken_at == (None if is_between else ([0, *ends])[whole])


@given(st.binary(min_size=1, max_size=60), st.data())
def test_no_flipped_bit_of_a_record_goes_unseen(payload, data):
    framed = bytearray(frame_tfrecord(payload))
    framed[data.draw(st.integers(0, len(framed) - 1))] ^= 1 << data.draw(st.integers(0, 7))

    with pytest.raises(EpisodeError) as caught:
        unframe(bytes(framed), file="f", byte_start=0)

    assert caught.value.reason in {"crc_mismatch", "truncated_record"}


@given(FLOATS, INTS, st.lists(st.binary(max_size=20), max_size=5))
def test_an_example_gives_back_what_was_written(floats, ints, texts):
    written = {"a": np.array(floats, np.float32), "b/c": np.array(ints, np.int64), "d": texts}

    features = parse_example(example(written))

    np.testing.assert_array_equal(values_of(features["a"]), written["a"])
    np.testing.assert_array_equal(values_of(features["b/c"]), written["b/c"])
    assert values_of(features["d"]) == tuple(texts)


def values_or_error(parse, payload):
    try:
        return {name: list(values_of(feature)) for name, feature in parse(payload).items()}
    except (EpisodeError, DecodeError):
        return "error"


@given(
    st.lists(st.binary(max_size=200), max_size=4),
    st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from([0x0A, 0x12, 0x1A, 0, 1, 0x7F, 0x80, 0xFF])), max_size=3),
)
def test_broken_or_not_an_example_is_what_protobuf_says(texts, changes):
    payload = bytearray(example({"a": np.arange(3), "b": texts, "c": np.zeros(2, np.float32)}))
    for place, value in changes:
        payload[place % len(payload)] = value
    ours, theirs = (
        values_or_error(parse, bytes(payload))
        for parse in (parse_example, lambda content: Example.FromString(content).features.feature)
    )
    assert repr(ours if ours == "error" else sorted(ours.items())) == repr(
        theirs if theirs == "error" else sorted(theirs.items())
    )


def test_a_record_that_is_no_example_is_a_bad_example():
    with pytest.raises(EpisodeError, match=r"no tf\.train\.Example") as caught:
        parse_example(b"\xff\xff\xff")
    assert caught.value.reason == "bad_example"


def test_every_record_is_found_with_its_bytes(tmp_path):
    shard = write_rlds(tmp_path)

    _, discovery = discover(tmp_path)

    assert [record.index for record in discovery.records] == [0, 1, 2]
    assert discovery.records[0].byte_start == 0
    assert discovery.records[-1].byte_stop == shard.stat().st_size
    assert all(record.problem is None for record in discovery.records)
    assert discovery.name == "bridge_dataset"
    assert discovery.notes == ()


def test_a_location_may_be_the_version_folder_itself(tmp_path):
    shard = write_rlds(tmp_path)

    raw = read(shard.parent)

    assert raw.fields["action"].shape == (T, 7)


def test_an_episode_has_numbers_pictures_and_words_by_path(tmp_path):
    written = rlds_episode()
    write_rlds(tmp_path, [written])

    raw = read(tmp_path)

    np.testing.assert_array_equal(raw.fields["observation/state"], written["steps/observation/state"])
    assert raw.fields["is_first"].dtype == np.bool_
    assert list(raw.pictures["observation/image_0"]) == written["steps/observation/image_0"]
    assert [item.text for item in raw.instructions] == [INSTRUCTION]
    assert raw.task == INSTRUCTION
    assert raw.success is None
    assert "file_path: /logs/0" in raw.notes


def test_depth_is_named_as_not_stored(tmp_path):
    write_rlds(tmp_path)
    assert read(tmp_path).not_stored == {"observation/depth_0": T}


def test_flags_that_deny_a_camera_are_noted_and_not_trusted(tmp_path):
    write_rlds(tmp_path)

    raw = read(tmp_path)

    assert "observation/image_0" in raw.pictures
    assert raw.denied == ["observation/image_0"]
    assert any("has_image_0" in note and "not trusted" in note for note in raw.notes)


def test_png_pictures_are_decoded_to_rgb(tmp_path):
    pictures = [png(picture(step)) for step in range(T)]
    write_rlds(tmp_path, [rlds_episode(steps__observation__image_0=pictures)])

    decoded = list(read(tmp_path).pictures["observation/image_0"])

    np.testing.assert_array_equal(decoded[2], picture(2))


def test_bytes_that_are_no_picture_are_a_bad_picture(tmp_path):
    write_rlds(tmp_path, [rlds_episode(steps__observation__image_0=[b"none"] * T)])

    with pytest.raises(EpisodeError, match="expected a JPEG, PNG"):
        list(read(tmp_path).pictures["observation/image_0"])


def test_instructions_that_change_have_ranges_and_blanks_give_none(tmp_path):
    texts = [b"reach", b"reach", b"", b"grasp", b"grasp", b"grasp"]
    write_rlds(tmp_path, [rlds_episode(steps__language_instruction=texts)])

    found = [(item.text, item.start, item.stop) for item in read(tmp_path).instructions]

    assert found == [("reach", 0, 2), ("grasp", 3, None)]


def test_several_wordings_of_the_instruction_are_all_taken(tmp_path):
    extra = {"language_instruction_2": {"text": {}}, "language_instruction_3": {"text": {}}}
    changes = {"steps__language_instruction_2": [b"move the cup"] * T, "steps__language_instruction_3": [b""] * T}
    write_rlds(tmp_path, [rlds_episode(**changes)], features=rlds_features(extra))

    assert [item.text for item in read(tmp_path).instructions] == [INSTRUCTION, "move the cup"]


def test_compressed_tensors_are_inflated(tmp_path):
    values = np.arange(T * 2, dtype=np.float32).reshape(T, 2)
    tensor = {"tensor": {"shape": {"dimensions": ["2"]}, "dtype": "float32", "encoding": "zlib"}}
    packed = [zlib.compress(row.tobytes()) for row in values]
    write_rlds(tmp_path, [rlds_episode(steps__pose=packed)], features=rlds_features({"pose": tensor}))

    np.testing.assert_array_equal(read(tmp_path).fields["pose"], values)


def test_words_and_facts_that_nobody_takes_are_named(tmp_path):
    extra = {"status": {"text": {}}}
    write_rlds(tmp_path, [rlds_episode(steps__status=[b"ok"] * T)], features=rlds_features(extra))

    raw = read(tmp_path)

    assert raw.not_stored["status"] == T
    assert "language_instruction" not in raw.not_stored
    assert "file_path: /logs/0" in raw.notes


@pytest.mark.parametrize(
    ("packed", "reason"),
    [(zlib.compress(bytes(10_000_000)), "absurd_size"), (zlib.compress(bytes(8))[:-1], "bad_example")],
    ids=["too much", "too little"],
)
def test_a_compressed_tensor_of_another_size_than_its_shapes_is_refused(tmp_path, packed, reason):
    tensor = {"tensor": {"shape": {"dimensions": ["2"]}, "dtype": "float32", "encoding": "zlib"}}
    write_rlds(tmp_path, [rlds_episode(steps__pose=[packed] * T)], features=rlds_features({"pose": tensor}))

    with pytest.raises(EpisodeError) as caught:
        read(tmp_path)
    assert caught.value.reason == reason


def test_the_same_record_has_the_same_digest_wherever_it_lies(tmp_path):
    write_rlds(tmp_path / "a", [rlds_episode(0), rlds_episode(1)])
    write_rlds(tmp_path / "b", [rlds_episode(1)])

    assert read(tmp_path / "a", 1).digest == read(tmp_path / "b", 0).digest
    assert read(tmp_path / "a", 0).digest != read(tmp_path / "b", 0).digest


def test_a_cut_shard_loses_no_record_in_silence(tmp_path):
    shard = write_rlds(tmp_path)
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 3 + 40])

    _, discovery = discover(tmp_path)

    reasons = [record.problem and record.problem.reason for record in discovery.records]
    assert reasons == [None, "truncated_record", "missing_record"]
    message = discovery.records[1].problem.message
    assert f"byte {discovery.records[0].byte_stop}" in message
    assert str(shard) in message


def test_a_damaged_length_ends_the_shard_there(tmp_path):
    shard = write_rlds(tmp_path)
    content = bytearray(shard.read_bytes())
    content[3] ^= 1
    shard.write_bytes(content)

    _, discovery = discover(tmp_path)

    reasons = [record.problem.reason for record in discovery.records]
    assert reasons == ["crc_mismatch", "missing_record", "missing_record"]


def test_a_damaged_payload_fails_that_record_only(tmp_path):
    shard = write_rlds(tmp_path)
    content = bytearray(shard.read_bytes())
    content[500] ^= 1
    shard.write_bytes(content)

    with pytest.raises(EpisodeError, match=r"record at byte 0 have checksum 0x\w+, its frame says 0x\w+") as caught:
        read(tmp_path, 0)
    assert caught.value.reason == "crc_mismatch"
    assert read(tmp_path, 1).fields


def test_reading_a_record_with_a_problem_raises_the_problem(tmp_path):
    write_rlds(tmp_path, promised=4)

    with pytest.raises(EpisodeError, match=r"found 3 whole records, dataset_info\.json promises 4") as caught:
        read(tmp_path, 3)
    assert caught.value.reason == "missing_record"


def test_more_records_than_promised_are_all_taken_and_noted(tmp_path):
    write_rlds(tmp_path, promised=2)

    _, discovery = discover(tmp_path)

    assert len(discovery.records) == 3
    assert "holds 3 records, dataset_info.json says 2" in discovery.notes[0]


def test_a_split_without_files_is_a_note(tmp_path):
    write_rlds(tmp_path, splits=[{"name": "val", "shardLengths": ["3", "4"]}])

    _, discovery = discover(tmp_path)

    assert len(discovery.records) == 3
    assert "split 'val' (7 episodes in 2 files)" in discovery.notes[0]


def test_a_missing_file_of_a_split_that_is_here_is_a_problem_for_each_of_its_records(tmp_path):
    shard = write_rlds(tmp_path)
    info = json.loads((shard.parent / "dataset_info.json").read_text())
    info["splits"][0]["shardLengths"] = ["3", "2"]
    (shard.parent / "dataset_info.json").write_text(json.dumps(info))
    shard.rename(shard.with_name("bridge_dataset-train.tfrecord-00000-of-00002"))

    _, discovery = discover(tmp_path)

    reasons = [record.problem and record.problem.reason for record in discovery.records]
    assert reasons == [None, None, None, "missing_file", "missing_file"]
    assert [record.index for record in discovery.records] == [0, 1, 2, 3, 4]


def test_a_file_that_no_split_names_is_taken_and_noted(tmp_path):
    shard = write_rlds(tmp_path)
    shard.with_name("more.tfrecord").write_bytes(frame_tfrecord(example(rlds_episode(9))))

    _, discovery = discover(tmp_path)

    assert len(discovery.records) == 4
    assert "no split names" in discovery.notes[0]


def test_two_datasets_at_once_are_refused(tmp_path):
    write_rlds(tmp_path / "a")
    other = write_rlds(tmp_path / "b").parent / "dataset_info.json"
    other.write_text(other.read_text().replace("bridge_dataset", "fractal"))

    with pytest.raises(SourceError, match="2 RLDS datasets"):
        discover(tmp_path)


def test_a_dataset_of_another_file_format_says_so(tmp_path):
    info = write_rlds(tmp_path).parent / "dataset_info.json"
    info.write_text(info.read_text().replace('"tfrecord"', '"array_record"'))

    with pytest.raises(SourceError, match=r"dataset_info.json says .* stored as 'array_record', expected 'tfrecord'"):
        discover(tmp_path)


@pytest.mark.parametrize(
    "content", ["{", '{"featuresDict": {"features": {"steps": {"sequence": {}}}}}', '{"featuresDict": 1}']
)
def test_a_broken_features_file_is_a_source_error(tmp_path, content):
    (write_rlds(tmp_path).parent / "features.json").write_text(content)

    with pytest.raises(SourceError, match=r"JSON|features\.json"):
        discover(tmp_path)


def test_a_tfds_dataset_without_steps_is_not_rlds(tmp_path):
    write_rlds(tmp_path, features={"featuresDict": {"features": {"image": {"image": {}}}}})
    assert rlds.discover(Location.of(str(tmp_path))) is None


def test_numbers_that_do_not_fill_their_shape_are_a_bad_example(tmp_path):
    write_rlds(tmp_path, [rlds_episode(steps__action=np.zeros(13, np.float32))])

    with pytest.raises(EpisodeError, match=r"'steps/action' has 13 numbers, expected a multiple of 7"):
        read(tmp_path)


def test_a_promised_stream_that_the_record_lacks_is_absent(tmp_path):
    episode = rlds_episode()
    del episode["steps/observation/image_0"]
    write_rlds(tmp_path, [episode])

    raw = read(tmp_path)

    assert raw.absent["observation/image_0"].reason == "missing_stream"


def test_a_remote_dataset_reads_the_same(tmp_path):
    write_rlds(tmp_path)
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "bridge_dataset"), "/rlds-test/bridge_dataset", recursive=True)
    location = Location.of("memory://rlds-test")

    record = rlds.discover(location).records[1]

    assert rlds.read(location, record).digest == read(tmp_path, 1).digest


@pytest.mark.parametrize(
    ("path", "success"),
    [
        ("/lab/success/2023-01-01/a/trajectory.h5", True),
        ("/lab/failure/2023-01-01/a/trajectory.h5", False),
        ("/lab/successful/a", None),
        ("/success/of/a/failure", None),
    ],
)
def test_success_is_told_by_the_folder_of_the_recording(tmp_path, path, success):
    write_rlds(tmp_path, [rlds_episode(episode_metadata__file_path=[path.encode()])])
    assert read(tmp_path).success is success


@pytest.mark.parametrize("flag", [True, False])
def test_the_episodes_own_flag_of_success_goes_before_its_folder(tmp_path, flag):
    features = rlds_features()
    features["featuresDict"]["features"]["success"] = {"tensor": {"shape": {}, "dtype": "bool", "encoding": "none"}}
    episode = rlds_episode(success=np.array([flag]), episode_metadata__file_path=[b"/lab/failure/a"])
    write_rlds(tmp_path, [episode], features=features)

    assert read(tmp_path).success is flag


@pytest.mark.parametrize(("told", "is_simulated"), [([1], True), ([0], False), ([], None)])
def test_an_episode_says_itself_whether_it_was_simulated(tmp_path, told, is_simulated):
    features = rlds_features()
    metadata = features["featuresDict"]["features"]["episode_metadata"]
    metadata["featuresDict"]["features"]["simulated"] = {"tensor": {"shape": {}, "dtype": "bool", "encoding": "none"}}
    write_rlds(tmp_path, [rlds_episode(episode_metadata__simulated=np.array(told, np.int64))], features=features)

    assert read(tmp_path).is_simulated is is_simulated


@pytest.mark.parametrize(
    "told", ["[1]", "{}", '{"name": "a", "splits": 3}', '{"name": 5, "splits": []}', '{"name": "\\ud800"}']
)
def test_a_description_that_tfds_would_not_write_is_refused_by_name(tmp_path, told):
    write_rlds(tmp_path)
    next(tmp_path.rglob("dataset_info.json")).write_text(told)
    with pytest.raises(SourceError, match=r"dataset_info\.json"):
        rlds.discover(Location.of(str(tmp_path)))


def test_an_absurd_promise_is_refused_and_not_accounted_for_one_by_one(tmp_path):
    shard = write_rlds(tmp_path, promised=99_999_999_999)
    with pytest.raises(SourceError, match=f"99999999999.*{shard.name}"):
        rlds.discover(Location.of(str(tmp_path)))


def test_a_record_that_is_read_another_way_is_another_episode(tmp_path):
    write_rlds(tmp_path / "a")
    write_rlds(tmp_path / "b")
    file = next((tmp_path / "b").rglob("features.json"))
    file.write_text(file.read_text().replace("is_first", "is_fisrt"))
    assert read(tmp_path / "a").digest != read(tmp_path / "b").digest
