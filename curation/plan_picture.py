"""A plan as a picture: shares by embodiment and task, hours, epochs, what the model is shown, and the warnings."""

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from curation.marks import Box, Drawing, Label, Mark, fitted, text_width
from curation.plan import Plan, PlannedComponent, PlannedGroup
from curation.plan_table import duration, size
from curation.plan_warnings import MANY_EPOCHS, SMALL_SHARE

_WIDTH, _EDGE = 1280, 48
_MIN_LETTERS = 9
"""A task's name is cut to no fewer; where there is no room for these its part of a bar stays without."""
_INNER = _WIDTH - 2 * _EDGE
_PAPER, _CARD, _INK, _FAINT, _LINE = "#f7f7f4", "#ffffff", "#1f2430", "#767c8a", "#e6e7ea"
_AMBER, _AMBER_INK, _QUIET = "#fff3d6", "#8a5a00", "#9aa3b5"
_HUES = ("#3566b8", "#d9772b", "#2f9273", "#b5476f", "#6f57b5", "#3b98b8", "#9a7a25", "#5d6b85")
_TINTS = (0.0, 0.28, 0.14, 0.42)
"""How much white is mixed into a robot's colour, task after task."""
_ROW, _BAR = 44, 24
_MAX_ROBOTS, _MAX_GROUPS, _MAX_WARNINGS, _MAX_SLOTS = 24, 10, 8, 4
# Columns of the robots' table: where each begins, and how long its bar may be.
_SHARE_X, _SHARE_W = 232, 424
_HOURS_X, _EPOCHS_X, _PADDING_X, _STEPS_X, _SLOTS_X = 742, 850, 958, 1048, 1136
_SMALL_W = 72


def save_picture(plan: Plan, path: Path) -> None:
    """Write the picture as a .png, .svg or .html, by the name's suffix; ConfigError for another."""
    picture(plan).save(path)


def picture(plan: Plan) -> Drawing:
    """The drawing, as high as the plan has rows."""
    marks: list[Mark] = [*_header(plan), *_tiles(plan, top=104)]
    y = 204.0
    for part in (_robots, _groups, _warnings):
        drawn, height = part(plan, y)
        marks += drawn
        y += height + 20
    return Drawing(title=f"plan of {plan.name}", width=_WIDTH, height=round(y) + 8, paper=_PAPER, marks=marks)


def _header(plan: Plan) -> Iterator[Mark]:
    yield Label(x=_EDGE, y=58, text=fitted(plan.name, 30, _INNER), size=30, is_bold=True)
    robots = len(plan.by_embodiment)
    counts = f"{plan.episodes:,} episodes of {robots} robot{'s' * (robots != 1)} in {len(plan.components):,} components"
    length = f"{plan.samples:,} samples, {plan.steps:,} steps of {plan.batch:,}"
    held_out = f"{plan.held_out_episodes:,} episodes held out"
    yield Label(x=_EDGE, y=84, text=f"{counts}  ·  {length}  ·  {held_out}", size=15, fill=_FAINT)


def _tiles(plan: Plan, *, top: float) -> Iterator[Mark]:
    spread, cost = plan.spread, plan.cost
    ratio = spread.batch_episodes / spread.shuffled_batch_episodes
    texts = (
        ("recorded", duration(plan.hours), f"{plan.frames:,} frames"),
        (
            "a frame is seen",
            f"{plan.repetition:,.3g} times",
            f"{plan.distinct_frames / plan.frames:.0%} of frames seen",
        ),
        (
            "episodes in a batch",
            f"{spread.batch_episodes:,.1f}",
            f"{ratio:.0%} of a true shuffle",
        ),
        (
            "decoding a sample",
            f"{cost.decode_ms_per_sample:.2f} ms",
            f"{cost.pictures_per_sample:.2f} pictures, one core",
        ),
        ("working set", size(cost.working_set_bytes), f"of {size(plan.tar_bytes)} selected"),
        ("from a remote lake", size(cost.fetch_bytes), f"{cost.fetch_requests:,} requests"),
    )
    gap = 12
    width = (_INNER - gap * (len(texts) - 1)) / len(texts)
    for number, (what, value, more) in enumerate(texts):
        x = _EDGE + number * (width + gap)
        yield Box(x=x, y=top, width=width, height=84, fill=_CARD, radius=8)
        yield Label(x=x + 14, y=top + 24, text=what, size=13, fill=_FAINT)
        yield Label(x=x + 14, y=top + 51, text=value, size=22, is_bold=True)
        yield Label(x=x + 14, y=top + 71, text=fitted(more, 12, width - 20), size=12, fill=_FAINT)


# ── robots ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _robots(plan: Plan, y: float) -> tuple[list[Mark], float]:
    """A row per embodiment: its share cut into tasks, hours, epochs, padding, recorded steps, cameras."""
    robots = plan.by_embodiment[:_MAX_ROBOTS]
    more = len(plan.by_embodiment) - len(robots)
    height = 92 + _ROW * len(robots) + 24 * bool(more)
    marks: list[Mark] = [Box(x=_EDGE, y=y, width=_INNER, height=height, fill=_CARD, radius=8)]
    marks.append(Label(x=_EDGE + 16, y=y + 30, text="Shares by robot and task", size=17, is_bold=True))
    heads = {_SHARE_X: "share of samples", _HOURS_X: "recorded", _EPOCHS_X: "epochs", _PADDING_X: "padding"}
    for x, text in {**heads, _STEPS_X: "valid steps", _SLOTS_X: "cameras"}.items():
        marks.append(Label(x=x, y=y + 60, text=text, size=12, fill=_FAINT))
    marks.append(Box(x=_EDGE + 16, y=y + 70, width=_INNER - 32, height=1, fill=_LINE))
    for number, robot in enumerate(robots):
        marks += _robot(plan, robot, number=number, y=y + 80 + number * _ROW)
    if more:
        marks.append(Label(x=_EDGE + 16, y=y + height - 12, text=f"… and {more} more robots", size=12, fill=_FAINT))
    return marks, height


def _robot(plan: Plan, robot: PlannedGroup, *, number: int, y: float) -> Iterator[Mark]:
    hue = _HUES[number % len(_HUES)]
    middle = y + _BAR / 2 + 5
    shown = next(one for one in plan.presentation.embodiments if one.embodiment == robot.name)
    yield Label(x=_EDGE + 16, y=middle, text=fitted(robot.name, 14, _SHARE_X - _EDGE - 28), size=14, is_bold=True)
    scale = _SHARE_W / max(one.share for one in plan.by_embodiment)
    yield from _tasks([one for one in plan.components if one.embodiment == robot.name], hue=hue, scale=scale, y=y)
    small = robot.share < SMALL_SHARE
    end = _SHARE_X + robot.share * scale + 8
    yield Label(x=end, y=middle, text=f"{robot.share:.1%}", fill=_AMBER_INK if small else _INK, is_bold=True)
    hours = robot.hours / max(one.hours for one in plan.by_embodiment)
    yield from _small_bar(_HOURS_X, y, part=hours, text=duration(robot.hours), fill=hue)
    often = robot.epochs > MANY_EPOCHS
    epochs = robot.epochs / max(one.epochs for one in plan.by_embodiment)
    yield from _small_bar(
        _EPOCHS_X, y, part=epochs, text=f"{robot.epochs:,.3g}", fill=_AMBER_INK if often else hue, is_loud=often
    )
    padding = (shown.state_padding + shown.action_padding) / 2
    yield from _small_bar(_PADDING_X, y, part=padding, text=f"{padding:.0%}", fill=_QUIET)
    yield from _small_bar(_STEPS_X, y, part=shown.valid_steps, text=f"{shown.valid_steps:.0%}", fill=hue)
    for place, (slot, coverage) in enumerate(list(shown.camera_coverage.items())[:_MAX_SLOTS]):
        title = f"{slot}: a picture in {coverage:.0%} of samples"
        yield Box(x=_SLOTS_X + place * 22, y=y + 3, width=18, height=18, fill=_LINE, radius=4, title=title)
        yield Box(
            x=_SLOTS_X + place * 22,
            y=y + 3,
            width=18,
            height=18,
            fill=_mixed(hue, 1 - coverage) if coverage else _LINE,
            radius=4,
            title=title,
        )


def _tasks(components: Sequence[PlannedComponent], *, hue: str, scale: float, y: float) -> Iterator[Mark]:
    """A robot's bar, cut into its components, the largest first; named where there is room."""
    x = float(_SHARE_X)
    for number, one in enumerate(sorted(components, key=lambda one: (-one.share, one.task))):
        width = one.share * scale
        fill = _mixed(hue, _TINTS[number % len(_TINTS)])
        yield Box(
            x=x,
            y=y,
            width=max(width - 1.5, 0.5),
            height=_BAR,
            fill=fill,
            radius=3,
            title=f"{one.component}: {one.share:.2%}, {duration(one.hours)}, {one.epochs:,.3g} epochs",
        )
        text = fitted(one.task, 11, width - 12)
        if text == one.task or len(text) > _MIN_LETTERS:
            yield Label(x=x + 6, y=y + 16, text=text, size=11, fill="#ffffff")
        x += width


def _small_bar(x: float, y: float, *, part: float, text: str, fill: str, is_loud: bool = False) -> Iterator[Mark]:
    yield Label(x=x, y=y + 11, text=text, size=13, fill=_AMBER_INK if is_loud else _INK, is_bold=is_loud)
    yield Box(x=x, y=y + 17, width=_SMALL_W, height=5, fill=_LINE, radius=2.5)
    yield Box(x=x, y=y + 17, width=max(_SMALL_W * part, 1), height=5, fill=fill, radius=2.5)


# ── tasks, sources, warnings ───────────────────────────────────────────────────────────────────────────────────────


def _groups(plan: Plan, y: float) -> tuple[list[Mark], float]:
    """Tasks on the left, sources on the right."""
    width = (_INNER - 20) / 2
    sides = (("Tasks", plan.by_task), ("Sources", plan.by_source))
    height = 70 + 28 * min(_MAX_GROUPS + 1, max(len(groups) for _, groups in sides))
    marks: list[Mark] = []
    for number, (title, groups) in enumerate(sides):
        left = _EDGE + number * (width + 20)
        marks.append(Box(x=left, y=y, width=width, height=height, fill=_CARD, radius=8))
        marks.append(Label(x=left + 16, y=y + 30, text=title, size=17, is_bold=True))
        for x, text in ((300, "share"), (462, "recorded"), (width - 16, "epochs")):
            marks.append(Label(x=left + x, y=y + 30, text=text, size=12, fill=_FAINT, anchor="end"))
        for row, one in enumerate(groups[:_MAX_GROUPS]):
            marks += _group(one, left=left, width=width, y=y + 62 + row * 28, largest=groups[0].share)
        if len(groups) > _MAX_GROUPS:
            text = f"… and {len(groups) - _MAX_GROUPS} more"
            marks.append(Label(x=left + 16, y=y + height - 14, text=text, size=12, fill=_FAINT))
    return marks, height


def _group(one: PlannedGroup, *, left: float, width: float, y: float, largest: float) -> Iterator[Mark]:
    often = one.epochs > MANY_EPOCHS
    yield Label(x=left + 16, y=y, text=fitted(one.name, 13, 228), size=13)
    yield Label(x=left + 300, y=y, text=f"{one.share:.1%}", size=13, anchor="end")
    yield Box(x=left + 312, y=y - 9, width=84 * one.share / largest, height=9, fill=_QUIET, radius=2)
    yield Label(x=left + 462, y=y, text=duration(one.hours), size=13, anchor="end")
    epochs = Label(
        x=left + width - 16,
        y=y,
        text=f"{one.epochs:,.3g}",
        size=13,
        anchor="end",
        fill=_AMBER_INK if often else _INK,
        is_bold=often,
    )
    yield epochs


def _warnings(plan: Plan, y: float) -> tuple[list[Mark], float]:
    told = [line for text in plan.warnings[:_MAX_WARNINGS] for line in _wrapped(text)]
    if len(plan.warnings) > _MAX_WARNINGS:
        told.append(f"… and {len(plan.warnings) - _MAX_WARNINGS} more")
    title = f"{len(plan.warnings)} warning{'s' * (len(plan.warnings) != 1)}" if told else "No warnings"
    height = 48 + 20 * len(told)
    marks: list[Mark] = [Box(x=_EDGE, y=y, width=_INNER, height=height, fill=_AMBER if told else _CARD, radius=8)]
    ink = _AMBER_INK if told else _FAINT
    marks.append(Label(x=_EDGE + 16, y=y + 30, text=title, size=17, fill=ink, is_bold=True))
    for row, text in enumerate(told):
        marks.append(Label(x=_EDGE + 16, y=y + 54 + row * 20, text=text, size=13))
    return marks, height


def _wrapped(text: str) -> list[str]:
    """Lines that fit the sheet, a dot before the first."""
    letters = int(len(text) * (_INNER - 60) / max(text_width(text, 13), 1))
    lines = textwrap.wrap(text, max(letters, 20))
    return [f"·  {line}" if number == 0 else f"    {line}" for number, line in enumerate(lines)]


def _mixed(colour: str, white: float) -> str:
    """A colour with so much white in it."""
    parts = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return "#" + "".join(f"{round(part + (255 - part) * white):02x}" for part in parts)
