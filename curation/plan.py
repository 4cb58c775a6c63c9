"""A plan: what a recipe would really sample, told from the catalogue alone; no picture or number is read."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from curation.cameras import shown_cameras
from curation.cautions import cautions
from curation.recipe import Recipe
from curation.select import Selection, select
from curation.weigh import weigh
from schema.lake import Lake

SMALL_SHARE = 0.005
"""Below this share a component is warned of."""
MANY_EPOCHS = 10.0
"""Above so many epochs a component is warned of."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedComponent:
    """One component of the lock to be."""

    component: str
    episodes: int
    frames: int
    hours: float
    share: float
    """Expected share of samples, in (0, 1]."""
    quota: int
    """Samples of every 2**20."""
    epochs: float | None
    """How often each frame is seen; None where the number of samples is not known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a recipe comes to on a lake."""

    name: str
    components: tuple[PlannedComponent, ...]
    samples: int | None
    """Steps times batch, where both are known."""
    episodes: int
    frames: int
    hours: float
    held_out_episodes: int
    tar_bytes: int
    lanes: int
    warnings: tuple[str, ...]

    def rows(self) -> list[dict[str, object]]:
        """One row per component, the largest share first."""
        return [asdict(one) for one in sorted(self.components, key=lambda one: (-one.share, one.component))]


def plan(recipe: Recipe, lake: Lake, *, steps: int | None = None, batch: int | None = None) -> Plan:
    """The plan of a recipe for so many training steps of a global batch; ConfigError as `make_lock`."""
    selection = select(recipe, lake)
    weighed = weigh(selection.candidates, recipe.weighting)
    samples = None if steps is None or batch is None else steps * batch
    components = tuple(
        PlannedComponent(
            component=candidate.name,
            episodes=candidate.episodes,
            frames=candidate.frames,
            hours=candidate.hours,
            share=share,
            quota=quota,
            epochs=None if samples is None else samples * share / candidate.frames,
        )
        for candidate, share, quota in zip(
            selection.candidates, weighed.share_C.tolist(), weighed.quota_C.tolist(), strict=True
        )
    )
    return Plan(
        name=recipe.name,
        components=components,
        samples=samples,
        episodes=sum(one.episodes for one in components),
        frames=sum(one.frames for one in components),
        hours=sum(one.hours for one in components),
        held_out_episodes=len(selection.held_out),
        tar_bytes=sum(candidate.tar_bytes for candidate in selection.candidates),
        lanes=weighed.lanes,
        warnings=(
            *_component_warnings(components),
            *cautions(recipe, selection),
            *_camera_warnings(recipe, selection),
        ),
    )


def _component_warnings(components: tuple[PlannedComponent, ...]) -> Iterator[str]:
    for one in components:
        if one.share < SMALL_SHARE:
            yield (
                f"{one.component!r} is {one.share:.2%} of the mixture, below {SMALL_SHARE:.1%}: it is hardly seen; "
                "boost it, lower alpha, or leave it out"
            )
        if one.epochs is not None and one.epochs > MANY_EPOCHS:
            yield (
                f"{one.component!r} is seen {one.epochs:.1f} times, more than {MANY_EPOCHS:g}: it may be learnt by "
                "heart; raise alpha, lower its boost, train for fewer steps, or collect more"
            )


def _camera_warnings(recipe: Recipe, selection: Selection) -> Iterator[str]:
    there = {camera.name for candidate in selection.candidates for camera in candidate.embodiment.cameras}
    for slot, names in shown_cameras(recipe, selection.embodiments.values()).items():
        if not there & set(names):
            yield f"camera slot {slot!r} is always empty: no selected embodiment has {' or '.join(map(repr, names))}"
