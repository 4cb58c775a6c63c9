"""A plan is told in tables, sentences and a picture that stays readable for small and large mixtures."""

from dataclasses import replace

import pytest
from PIL import Image

from curation.marks import Box, Label, fitted, text_width
from curation.plan import plan
from curation.plan_picture import picture, save_picture
from curation.plan_table import duration, ranges, sentences, size, tables
from curation.recipe import parse_recipe
from schema.errors import ConfigError

RECIPE = "name: two <arms>\nsources: [{source: tiny}]\nprompt: {tag: true}\nchunk: {steps: 5}"


@pytest.fixture(scope="module")
def planned(lake):
    return plan(parse_recipe(RECIPE), lake, steps=500, batch=16)


@pytest.fixture(scope="module")
def large(planned):
    """The same with 60 robots and 300 components."""
    robots = [replace(planned.by_embodiment[0], name=f"robot_{number}", share=1 / 60) for number in range(60)]
    shown = [replace(planned.presentation.embodiments[0], embodiment=one.name) for one in robots]
    components = [
        replace(planned.components[0], embodiment=robot.name, task=f"task {number} 試験", share=1 / 300)
        for robot in robots
        for number in range(5)
    ]
    return replace(
        planned,
        name="everything " * 30,
        components=tuple(components),
        by_embodiment=tuple(robots),
        by_task=tuple(replace(robots[0], name=f"task {number}") for number in range(300)),
        presentation=replace(planned.presentation, embodiments=tuple(shown)),
        warnings=tuple(f"{number} is wrong " + "and should be mended " * 12 for number in range(40)),
    )


@pytest.mark.parametrize("which", ["planned", "large"])
def test_every_mark_stays_on_the_sheet(which, request):
    drawing = picture(request.getfixturevalue(which))
    for mark in drawing.marks:
        if isinstance(mark, Box):
            assert mark.x >= 0
            assert mark.x + mark.width <= drawing.width
            assert mark.y + mark.height <= drawing.height
        else:
            width = text_width(mark.text, mark.size)
            left = mark.x - width * {"start": 0, "middle": 0.5, "end": 1}[mark.anchor]
            assert left >= 0
            assert left + width <= drawing.width
            assert mark.y <= drawing.height
    assert drawing.height < 2400


def test_a_bars_parts_are_the_shares(planned):
    boxes = [mark for mark in picture(planned).marks if isinstance(mark, Box) and "epochs" in mark.title]
    assert len(boxes) == len(planned.components)
    assert len({round(box.width, 6) for box in boxes}) == 1  # all four components are alike
    assert {box.title.split(":")[0] for box in boxes} == {one.component for one in planned.components}


@pytest.mark.parametrize("suffix", [".png", ".svg", ".html"])
def test_a_picture_is_saved_as_its_name_says(planned, tmp_path, suffix):
    path = tmp_path / "made" / f"plan{suffix}"
    save_picture(planned, path)
    if suffix == ".png":
        with Image.open(path) as image:
            assert image.size[0] == 2560
    else:
        assert "two &lt;arms&gt;" in path.read_text(encoding="utf-8")
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_another_suffix_is_refused(planned, tmp_path):
    with pytest.raises(ConfigError, match=r"'\.gif'.*\.png, \.svg or \.html"):
        save_picture(planned, tmp_path / "plan.gif")


def test_a_text_is_cut_to_its_width():
    assert fitted("short", 12, 100) == "short"
    cut = fitted("a rather long task that nobody reads", 12, 100)
    assert cut.endswith("…")
    assert text_width(cut, 12) <= 100
    assert fitted("no room", 12, 5) == ""


def test_a_mark_of_text_may_hold_other_scripts():
    assert text_width("把积木放在盘子上", 12) > 0
    assert isinstance(Label(x=0, y=0, text="é"), Label)


def test_tables_and_sentences_tell_the_plan(planned):
    told = {title: rows for title, rows, _ in tables(planned)}
    assert list(told) == ["components", "embodiments: what the model is shown", "tasks"]
    assert [row["component"] for row in told["components"]] == sorted(one.component for one in planned.components)
    shown = {row["embodiment"]: row for row in told["embodiments: what the model is shown"]}
    assert shown["ur5e"]["right_wrist"] == 0
    words = "\n".join(sentences(planned))
    assert "8,000 samples (500 steps × 16): 400 of 400 frames are seen, 20 times each" in words
    assert "never used: state slots 14–31" in words
    assert words.count("warning:") == len(planned.warnings) == 4
    assert "boost" not in told["components"][0]


def test_multipliers_and_dropout_are_told_where_there_are_any(lake):
    text = RECIPE.replace("{source: tiny}", "{source: tiny, boost: 2}").replace("tag: true", "tag: true, dropout: 0.25")
    found = plan(parse_recipe(text), lake)
    ((_, rows, _), *_) = tables(found)
    assert {row["boost"] for row in rows} == {2.0}
    assert "instructions are left away in 25% of samples" in list(sentences(found))


def test_numbers_are_told_in_words_for_people():
    assert [size(number) for number in (0, 1023, 1536, 5 * 2**30)] == ["0 B", "1,023 B", "1.5 KiB", "5 GiB"]
    assert [duration(hours) for hours in (0.001, 0.5, 1, 12345)] == ["3.6 s", "30 min", "1 h", "12,345 h"]
    assert ranges((0, 1, 2, 7, 9, 10)) == "0–2, 7, 9–10"
    assert ranges(()) == "none"
