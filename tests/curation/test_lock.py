"""A lock holds what training needs, is the same for the same recipe and data, and notices when it was changed."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.lock import LOCK_VERSION, RUNS, Lock, register
from curation.make_lock import make_lock
from curation.mixture import BLOCK
from curation.recipe import parse_recipe
from curation.table_digest import table_digest
from curation.texts import instructions
from schema.commit import Bundle, commit
from schema.errors import ConfigError
from schema.lake import Lake
from tests.lakes import make_episode, make_lake, store


@pytest.fixture(scope="module")
def small_recipe():
    return parse_recipe(
        "name: demo\nsources: [{source: tiny}]\nprompt: {tag: true}\nchunk: {steps: 8}\nheld_out: 0.3\n"
    )


@pytest.fixture(scope="module")
def lock(lake, small_recipe):
    return make_lock(small_recipe, lake)


def one_robot(number=0, **options):
    return make_episode(number, num_frames=5, **options)


def test_the_same_recipe_on_the_same_versions_gives_the_same_lock(lock, lake, small_recipe):
    again = make_lock(small_recipe, lake)
    assert again.digest == lock.digest
    assert again.runs.equals(lock.runs)
    assert again.stats.equals(lock.stats)


@pytest.mark.parametrize("more", ["seed: 1", "weighting: {alpha: 1}", "layout: semantic"])
def test_another_recipe_gives_another_digest(lock, lake, recipe, more):
    assert make_lock(recipe(f"chunk: {{steps: 8}}\nheld_out: 0.1\n{more}"), lake).digest != lock.digest


def test_a_copied_lake_gives_the_same_digest_and_more_data_another(tmp_path, recipe):
    first, second = (make_lake(tmp_path / name, num_episodes=1, num_frames=5) for name in ("a", "b"))
    before = make_lock(recipe(), first).digest
    assert make_lock(recipe(), second).digest == before
    store(second, tmp_path, [one_robot(9)], bundle_id="more")
    assert make_lock(recipe(), second).digest != before


def test_saving_and_loading_gives_the_same_lock(lock, tmp_path):
    lock.save(tmp_path / "locks" / "demo")
    found = Lock.load(tmp_path / "locks" / "demo")
    assert found.digest == lock.digest
    assert found.lake == lock.lake
    for name in ("runs", "stats", "held_out"):
        assert getattr(found, name).equals(getattr(lock, name))
    for name in ("components", "embodiments", "cameras", "versions", "recipe", "seed", "lanes"):
        assert getattr(found, name) == getattr(lock, name)
    assert sorted(path.name for path in (tmp_path / "locks").iterdir()) == ["demo"]


def test_saving_twice_is_nothing_and_saving_over_something_else_is_refused(lock, tmp_path, lake, recipe):
    lock.save(tmp_path / "demo")
    lock.save(tmp_path / "demo")
    with pytest.raises(ConfigError, match="not this lock"):
        make_lock(recipe("seed: 5"), lake).save(tmp_path / "demo")


def test_a_registered_lock_is_loaded_from_the_lake(lock, lake):
    folder = register(lock, lake)
    assert folder == f"locks/{lock.digest}"
    assert register(lock, lake) == folder
    assert Lock.load(f"{lake.uri}/{folder}").digest == lock.digest


def test_a_lock_is_made_kept_and_loaded_on_s3(s3_lake_uri, tmp_path):
    lake = Lake.open_or_create(s3_lake_uri)
    store(lake, tmp_path, [one_robot()])
    lock = make_lock(parse_recipe("name: x\nsources: [{source: tiny}]"), lake)
    lock.save(f"{lake.uri}/elsewhere")
    assert Lock.load(f"{lake.uri}/{register(lock, lake)}").digest == lock.digest
    assert Lock.load(f"{lake.uri}/elsewhere").digest == lock.digest


def test_a_changed_number_in_lock_json_is_noticed(lock, tmp_path):
    lock.save(tmp_path / "demo")
    file = tmp_path / "demo" / "lock.json"
    head = json.loads(file.read_text())
    head["components"][0]["quota"] += 1
    file.write_text(json.dumps(head))
    with pytest.raises(ConfigError, match=r"was changed after it was made.*make a new lock"):
        Lock.load(tmp_path / "demo")


def changed(table: pa.Table, column: str) -> pa.Table:
    values = table[column].to_numpy().copy()
    values[0] += 1
    return table.set_column(table.schema.get_field_index(column), table.schema.field(column), pa.array(values))


def write_arrow(file: Path, table: pa.Table, *, rows: int | None = None) -> None:
    with pa.ipc.new_file(str(file), table.schema) as writer:
        writer.write_table(table, max_chunksize=rows)


def test_a_changed_statistic_is_noticed(lock, tmp_path):
    lock.save(tmp_path / "demo")
    file = tmp_path / "demo" / "stats.parquet"
    pq.write_table(changed(pq.read_table(file), "mean"), file)
    with pytest.raises(ConfigError, match="was changed after it was made"):
        Lock.load(tmp_path / "demo")


def test_a_changed_run_is_noticed(lock, tmp_path):
    lock.save(tmp_path / "demo")
    (tmp_path / "demo" / "runs.arrow").unlink()
    write_arrow(tmp_path / "demo" / "runs.arrow", changed(lock.runs, "start"))
    with pytest.raises(ConfigError, match="was changed after it was made"):
        Lock.load(tmp_path / "demo")


def test_tables_written_anew_with_the_same_values_are_the_same_lock(lock, tmp_path):
    lock.save(tmp_path / "demo")
    (tmp_path / "demo" / "runs.arrow").unlink()
    write_arrow(tmp_path / "demo" / "runs.arrow", lock.runs, rows=2)
    assert Lock.load(tmp_path / "demo").digest == lock.digest


def test_a_lock_with_runs_in_parquet_as_they_once_were_is_read(lock, tmp_path):
    lock.save(tmp_path / "demo")
    for name in ("runs", "held_out"):
        (tmp_path / "demo" / f"{name}.arrow").unlink()
        pq.write_table(getattr(lock, name), tmp_path / "demo" / f"{name}.parquet")
    found = Lock.load(tmp_path / "demo")
    assert found.digest == lock.digest
    assert found.runs.equals(lock.runs)


def test_a_table_that_is_gone_is_told_as_damage(lock, tmp_path):
    lock.save(tmp_path / "demo")
    (tmp_path / "demo" / "stats.parquet").unlink()
    with pytest.raises(ConfigError, match=r"damaged.*four files"):
        Lock.load(tmp_path / "demo")


def test_a_folder_without_a_lock_says_how_to_make_one(tmp_path):
    with pytest.raises(ConfigError, match=r"no lock there.*robomix recipe lock"):
        Lock.load(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"digest": "x"}', '{"format_version": 1}'])
def test_a_file_that_is_no_lock_is_refused(tmp_path, text):
    (tmp_path / "lock.json").write_text(text)
    with pytest.raises(ConfigError, match="not a lock's"):
        Lock.load(tmp_path)


def test_a_newer_format_asks_for_a_newer_robomix(lock, tmp_path):
    lock.save(tmp_path / "demo")
    file = tmp_path / "demo" / "lock.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format_version": LOCK_VERSION + 1}))
    with pytest.raises(ConfigError, match="use a newer robomix"):
        Lock.load(tmp_path / "demo")


def test_quotas_fill_a_block_and_counts_are_those_of_the_runs(lock):
    assert sum(component.quota for component in lock.components) == BLOCK
    runs = lock.runs.to_pylist()
    for index, component in enumerate(lock.components):
        mine = [run for run in runs if run["component"] == index]
        assert component.episodes == len(mine)
        assert component.frames == sum(run["stop"] - run["start"] for run in mine)
        assert component.hours == pytest.approx(component.frames / component.rate_hz / 3600)


def test_every_position_finds_a_run_of_its_component(lock):
    samples = lock.order().samples(np.arange(4096))
    run_P, frame_P = lock.run_index().locate(samples.component, samples.frame)
    runs = lock.runs.to_pydict()
    assert [runs["component"][run] for run in run_P] == samples.component.tolist()
    assert all(runs["start"][run] + frame < runs["stop"][run] for run, frame in zip(run_P, frame_P, strict=True))


def test_held_out_episodes_are_listed_and_never_in_runs(lock):
    held_out = set(lock.held_out["episode_id"].to_pylist())
    assert held_out
    assert held_out.isdisjoint(lock.runs["episode_id"].to_pylist())
    assert lock.held_out.schema == RUNS == lock.runs.schema


def test_a_component_knows_its_dimensions_slots_and_prompt(lock):
    component = next(one for one in lock.components if one.embodiment == "ur5e")
    state, action = lock.dimensions(component)
    assert [one.name for one in action][-1] == "action.gripper.gripper"
    assert lock.slots(component)[1].places == (0, 1, 2, 3, 4, 5, 6)
    assert component.prompt_prefix == "ur5e, joint_position at 20 Hz: "
    assert component.stats_key in lock.stats["key"].to_pylist()
    assert len(state) == 7
    assert not lock.chunk_rule(component).is_delta.any()


def test_without_a_tag_nothing_stands_before_the_instruction(lake, recipe):
    text = "name: x\nsources: [{source: tiny, where: \"embodiment = 'ur5e'\"}]"
    assert {one.prompt_prefix for one in make_lock(parse_recipe(text), lake).components} == {""}


def test_boost_and_alpha_move_shares(lake):
    text = (
        "name: x\nsources:\n  - {source: tiny, where: \"embodiment = 'ur5e'\", boost: 3}\n"
        "  - {source: tiny, where: \"embodiment != 'ur5e'\"}\nprompt: {tag: true}\n"
    )
    shares = {one.embodiment: one.share for one in make_lock(parse_recipe(text), lake).components}
    assert shares["ur5e"] == pytest.approx(3 * shares["bimanual_trossen"])


@pytest.mark.parametrize(("alpha", "ratio"), [(0, 1), (1, 3), (0.43, 3**0.43)])
def test_alpha_weighs_components_by_their_frames(tmp_path, alpha, ratio):
    lake = Lake.open_or_create(str(tmp_path / "lake"))
    store(lake, tmp_path, [one_robot(0, task="a"), *(one_robot(number, task="b") for number in (1, 2, 3))])
    text = f"name: x\nsources: [{{source: tiny}}]\nweighting: {{alpha: {alpha}}}"
    few, many = make_lock(parse_recipe(text), lake).components
    assert many.share / few.share == pytest.approx(ratio)


def test_training_reads_the_annotations_that_hold(tmp_path, recipe):
    lake = Lake.open_or_create(str(tmp_path / "lake"))
    episode = one_robot(0, instruction="as the log says")
    store(lake, tmp_path, [episode])
    rows = [
        {"annotation_id": "n1", "start": 0, "stop": 5, "text": "whole by numbers ", "supersedes": None},
        {"annotation_id": "n2", "start": None, "stop": None, "text": "whole by nulls", "supersedes": None},
        {"annotation_id": "n3", "start": 2, "stop": 4, "text": "only a part", "supersedes": None},
    ]
    common = {"episode_id": episode.episode_id, "kind": "instruction", "author": "test", "format_version": 1}
    commit(lake, [Bundle(bundle_id="notes", episodes=(), annotations=tuple(common | row for row in rows))])
    lock = make_lock(recipe(), lake)
    assert lock.runs["instructions"].to_pylist() == [["as the log says", "whole by nulls", "whole by numbers"]]
    assert lock.versions["annotations"] == lake.version("annotations")


@pytest.mark.parametrize(
    ("whole", "own", "expected"),
    [
        (["a", "b"], ["c"], ["a", "b"]),
        (None, ["c", " b ", ""], ["b", "c"]),
        ([], ["only a part"], ["task"]),
        (None, None, ["task"]),
        (None, [], ["task"]),
    ],
)
def test_an_episode_without_instructions_is_told_by_its_task(whole, own, expected):
    assert instructions(whole, own, "task") == expected


def test_a_digest_of_a_table_is_of_its_values():
    texts = pa.array(["ä", "", "ccc", "ä"])
    lists = pa.array([["x", "y"], [], ["x"], ["z"]], pa.list_(pa.string()))
    plain = pa.table({"text": texts, "list": lists, "number": pa.array([1.5, 2, 3, 4])})
    coded = plain.set_column(0, "text", texts.dictionary_encode())
    split = pa.concat_tables([plain.slice(0, 1), plain.slice(1, 3)])
    assert table_digest(coded) == table_digest(plain) == table_digest(split)
    assert table_digest(plain.slice(1, 2)) == table_digest(plain.take([1, 2]))
    assert table_digest(plain.take([1, 0, 2, 3])) != table_digest(plain)
    assert table_digest(plain.rename_columns(["text", "lists", "number"])) != table_digest(plain)
    moved = plain.set_column(0, "text", pa.array(["", "ä", "ccc", "ä"]))
    assert table_digest(moved) != table_digest(plain)
