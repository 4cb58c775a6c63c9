"""`robomix recipe`: see what a recipe would sample, lock it, compare mixtures, look at what a lock samples."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from terminal import JsonOption, LakeOption, MovedLakeOption, json_line, out, rule, table

recipe_app = typer.Typer(
    no_args_is_help=True, help="See what a recipe would sample; lock it; compare and replay locks."
)


@recipe_app.command("plan")
def recipe_plan(
    recipe: Annotated[str, typer.Argument(help="The recipe, a YAML file.")],
    lake: LakeOption,
    steps: Annotated[int, typer.Option(min=1, help="Training steps to plan for.")] = 30_000,
    batch: Annotated[int, typer.Option(min=1, help="Samples per step, over all ranks.")] = 32,
    picture: Annotated[Path | None, typer.Option(help="Draw it too: a .png, .svg or .html.")] = None,
    json_: JsonOption = False,
) -> None:
    """What a recipe would sample from a lake, without reading a picture."""
    from curation import plan_table
    from curation.plan import plan
    from curation.plan_picture import save_picture
    from curation.select import open_recipe
    from schema.lake import Lake

    opened = Lake.open(lake)
    found = plan(open_recipe(recipe, opened), opened, steps=steps, batch=batch)
    if picture is not None:
        save_picture(found, picture)
    if json_:
        json_line(asdict(found))
        return
    for title, rows, totals in plan_table.tables(found):
        rule(title)
        table(rows, totals=totals)
    rule("all of it")
    out.print("\n".join(plan_table.sentences(found)), markup=False)


@recipe_app.command("diff")
def recipe_diff(
    first: Annotated[str, typer.Argument(help="A lock, or a recipe (.yaml) as it would be locked now.")],
    second: Annotated[str, typer.Argument(help="What it is compared with, likewise.")],
    lake: Annotated[str, typer.Option("--lake", help="The lake on which recipes are looked at.")] = "",
    json_: JsonOption = False,
) -> None:
    """What changed from one mixture to another: fields, components, hours, shares, statistics."""
    from curation.difference import Outline, difference

    found = difference(*(Outline.at(place, lake_uri=lake) for place in (first, second)))
    if json_:
        json_line(asdict(found))
        return
    out.print("\n".join(found.sentences()), markup=False)
    if found.components:
        table(found.rows())


@recipe_app.command("replay")
def recipe_replay(
    lock: Annotated[str, typer.Argument(help="The lock, a folder or URI.")],
    position: Annotated[int, typer.Option(min=0, help="The first position to show.")] = 0,
    count: Annotated[int, typer.Option(min=1, help="How many to show.")] = 10,
    episode: Annotated[str | None, typer.Option(help="Show the positions of this episode instead.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Look for the episode in so many training steps.")] = 30_000,
    batch: Annotated[int, typer.Option(min=1, help="Samples per step, over all ranks.")] = 32,
    training: Annotated[
        Path | None, typer.Option(help="Folder of a training: its checkpoints are told of too.")
    ] = None,
    lake: MovedLakeOption = None,
    json_: JsonOption = False,
) -> None:
    """What a lock samples at any position, or at which positions, and before which checkpoints, an episode."""
    from curation import replay
    from curation.lock import Lock
    from schema.lake import Lake

    loaded = Lock.load(lock)
    if episode is None:
        there = Lake(lake or loaded.lake)
        samples = list(replay.samples_at(loaded, position, count=count, lake=there if there.is_lake() else None))
        if json_:
            json_line({"samples": [asdict(one) for one in samples]})
            return
        for one in samples:
            out.print(one.told(), markup=False)
        return
    known = set(replay.checkpoints(loaded, lake_uri=lake))
    if training is not None:
        from training import checkpoint  # brings torch along

        known |= set(checkpoint.positions(training, lock=loaded.digest))
    found = replay.sightings(loaded, episode, stop=max(steps * batch, *(at for _, at in known), 0))
    ordered = sorted(known, key=lambda one: (one[1], one[0]))
    seen = [asdict(one) for one in found.at([*ordered, ("all these steps", found.stop)])]
    if json_:
        json_line({"episode_id": episode, "seen": seen, "positions": list(found.rows(batch=batch))})
        return
    table(seen)
    out.print(f"{len(found):,} positions before {found.stop:,}; from {position:,} on, the first {count}:")
    table(found.rows(batch=batch, start=position, count=count))


@recipe_app.command("lock")
def recipe_lock(
    recipe: Annotated[str, typer.Argument(help="The recipe, a YAML file.")],
    lake: LakeOption,
    out_: Annotated[str | None, typer.Option("--out", help="Write the lock here too; a new folder.")] = None,
    json_: JsonOption = False,
) -> None:
    """Lock a recipe on a lake: which frames, how often, in which order, normalized how. Kept in the lake."""
    from curation.lock import register
    from curation.make_lock import make_lock
    from curation.select import open_recipe
    from curation.statistics import constant_dimensions
    from schema.lake import Lake

    opened = Lake.open(lake)
    lock = make_lock(open_recipe(recipe, opened), opened)
    folder = f"{opened.uri}/{register(lock, opened)}"
    if out_ is not None:
        lock.save(out_)
    constant = constant_dimensions(lock.stats)
    if json_:
        summary = {"digest": lock.digest, "lock": out_ or folder, "components": len(lock.components)}
        json_line(summary | {"constant": constant})
        return
    frames = sum(component.frames for component in lock.components)
    out.print(f"lock {lock.digest}: {len(lock.components)} components, {frames:,} frames", markup=False)
    for dimension in constant:
        out.print(f"constant, so only centred: {dimension}", markup=False)
    out.print(out_ or folder, markup=False)
