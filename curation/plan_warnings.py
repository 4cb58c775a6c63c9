"""What a plan warns of: robots hardly seen, sets learnt by heart, empty slots, sources that do not belong together."""

from collections.abc import Iterable, Iterator

from curation.agreement import complaint
from curation.plan_presentation import Presentation
from curation.plan_weights import PlannedWeight
from curation.pooled import EPISODES, pools_that_disagree
from curation.recipe import Recipe
from curation.select import Selection
from schema.lake import Lake

SMALL_SHARE = 0.005
"""Below this share a robot is warned of."""
MANY_EPOCHS = 10.0
"""Above so many epochs a component is warned of."""
_HALF = 0.5
_MAX_NAMED = 3


def robot_warnings(shares: Iterable[tuple[str, float]]) -> Iterator[str]:
    """Of (embodiment, share): those that are hardly seen."""
    for name, share in shares:
        if share < SMALL_SHARE:
            yield (
                f"{name!r} is {share:.2%} of the mixture, below {SMALL_SHARE:.1%}: it is hardly seen; "
                "boost it, lower alpha, or leave it out"
            )


def component_warnings(epochs: Iterable[tuple[str, float]]) -> Iterator[str]:
    """Of (component, epochs): those that are seen too often, the worst by name and the others by number."""
    often = sorted(((name, times) for name, times in epochs if times > MANY_EPOCHS), key=lambda one: (-one[1], one[0]))
    for name, times in often[:_MAX_NAMED]:
        yield (
            f"{name!r} is seen {times:.1f} times, more than {MANY_EPOCHS:g}: it may be learnt by "
            "heart; raise alpha, lower its boost, train for fewer steps, or collect more"
        )
    if (others := len(often) - _MAX_NAMED) > 0:
        are = "component is" if others == 1 else "components are"
        yield f"{others} other {are} seen more than {MANY_EPOCHS:g} times too"


def weight_warnings(weights: Iterable[PlannedWeight]) -> Iterator[str]:
    """Weights whose frames are seen too often."""
    for one in weights:
        if one.weight > 1 and one.epochs > MANY_EPOCHS:
            yield (
                f"the {one.frames:,} frames of weight {one.weight} are seen {one.epochs:.1f} times, more than "
                f"{MANY_EPOCHS:g}: they may be learnt by heart; weigh them less, or collect more"
            )


def presentation_warnings(shown: Presentation) -> Iterator[str]:
    """Camera slots that stay empty, and robots of which chunks are mostly past the end of their episodes."""
    for slot, coverage in shown.camera_coverage.items():
        if coverage == 0:
            names = " or ".join(map(repr, shown.cameras[slot]))
            yield f"camera slot {slot!r} is always empty: no selected embodiment has {names}"
    for one in shown.embodiments:
        if one.valid_steps < _HALF:
            yield (
                f"{one.valid_steps:.0%} of the steps in chunks of {one.embodiment!r} were recorded, the others come "
                "after the end of short episodes or of what is kept of them: take a smaller `chunk`, or longer "
                "episodes by `where`"
            )


def pooling_warnings(recipe: Recipe, selection: Selection, lake: Lake) -> Iterator[str]:
    """Sources that are normalized together and whose numbers do not agree."""
    refused = (
        f"by up to {EPISODES} episodes of each source, a lock would be refused: "
        if recipe.statistics == "agreeing"
        else ""
    )
    for pool, told in pools_that_disagree(recipe, selection, lake):
        yield refused + complaint(pool, told)
