"""A plan as tables and sentences for the terminal."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from curation.plan import Plan, PlannedGroup

Rows = list[dict[str, Any]]


def tables(plan: Plan) -> Iterator[tuple[str, Rows, tuple[str, ...]]]:
    """(title, rows, columns to sum): components, embodiments, and tasks and sources where they tell more."""
    ordered = sorted(plan.components, key=lambda one: (-one.share, one.component))
    boosts = ("boost",) * any(one.boost != 1 for one in ordered)
    names = ("component", "episodes", "frames", "hours", *boosts, "share", "quota", "epochs", "chunk_s", "valid_steps")
    summed = ("episodes", "frames", "hours", "share", "quota")
    yield "components", [{name: getattr(one, name) for name in names} for one in ordered], summed
    groups = {one.name: one for one in plan.by_embodiment}
    yield (
        "embodiments: what the model is shown",
        [
            {
                "embodiment": one.embodiment,
                "share": one.share,
                "hours": groups[one.embodiment].hours,
                "epochs": groups[one.embodiment].epochs,
                "state padding": one.state_padding,
                "action padding": one.action_padding,
                **one.camera_coverage,
                "valid steps": one.valid_steps,
            }
            for one in plan.presentation.embodiments
        ],
        (),
    )
    if sorted(one.task for one in ordered) != sorted(one.name for one in plan.by_task):
        yield "tasks", _groups("task", plan.by_task), ()
    if len(plan.by_source) > 1:
        yield "sources", _groups("source", plan.by_source), ()
    if plan.by_weight:
        yield "frame weights", [asdict(one) for one in plan.by_weight], ("frames", "share")


def sentences(plan: Plan) -> Iterator[str]:
    """What a plan says beside its tables, and what it warns of."""
    cost, spread, shown = plan.cost, plan.spread, plan.presentation
    yield (
        f"{plan.samples:,} samples ({plan.steps:,} steps × {plan.batch:,}): {plan.distinct_frames:,} of "
        f"{plan.frames:,} frames are seen, {plan.repetition:.3g} times each; {plan.held_out_episodes:,} episodes are "
        "held out"
    )
    yield (
        f"distinct episodes: {spread.batch_episodes:,.1f} in a batch of {spread.batch:,} (true shuffle "
        f"{spread.shuffled_batch_episodes:,.1f}), {spread.episodes:,} in {spread.positions:,} positions "
        f"({spread.shuffled_episodes:,.0f})"
    )
    yield (
        f"decoding: {cost.pictures_per_sample:.2f} pictures a sample × {cost.decode_ms_per_picture:g} ms = "
        f"{cost.decode_ms_per_sample:.2f} ms on one core, {cost.decode_core_hours:,.3g} core hours in all"
    )
    yield (
        f"working set: {size(cost.working_set_bytes)} of {size(plan.tar_bytes)}; from a remote lake "
        f"{cost.fetch_requests:,} requests for {size(cost.fetch_bytes)}"
    )
    yield (
        f"padded to {shown.width}; never used: state slots {ranges(shown.unused_state_slots)}, "
        f"action slots {ranges(shown.unused_action_slots)}"
    )
    if shown.prompt_dropout:
        yield f"instructions are left away in {shown.prompt_dropout:.0%} of samples"
    for one in shown.embodiments:
        if one.unused_signals:
            yield f"signals of {one.embodiment} that are not read: {', '.join(one.unused_signals)}"
    yield from (f"warning: {warning}" for warning in plan.warnings)


def _groups(what: str, groups: Sequence[PlannedGroup]) -> Rows:
    names = ("episodes", "frames", "hours", "share", "epochs")
    return [{what: one.name, **{name: getattr(one, name) for name in names}} for one in groups]


def size(number: float) -> str:
    """Bytes in a unit that a person reads."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:,.0f} {unit}" if number >= 100 else f"{number:.3g} {unit}"
        number /= 1024
    return f"{number:,.4g} TiB"


def duration(hours: float) -> str:
    """A time in a unit that a person reads."""
    if hours >= 1:
        return f"{hours:,.0f} h" if hours >= 100 else f"{hours:.3g} h"
    return f"{hours * 60:.3g} min" if hours >= 1 / 60 else f"{hours * 3600:.3g} s"


def ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers, told as ranges: `0–3, 7`; `none` where there are none."""
    starts = [one for one in numbers if one - 1 not in numbers]
    stops = [one for one in numbers if one + 1 not in numbers]
    parts = [f"{start}" if start == stop else f"{start}–{stop}" for start, stop in zip(starts, stops, strict=True)]
    return ", ".join(parts) or "none"
