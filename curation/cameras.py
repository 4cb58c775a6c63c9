"""Which cameras a model's slots show: names in order of preference, or every camera of a role."""

from collections.abc import Iterable, Iterator
from typing import get_args

from curation.recipe_model import Recipe
from curation.recipe_problems import Problem
from schema.embodiment import CameraRole, Embodiment

ROLES: tuple[str, ...] = get_args(CameraRole)


def shown_cameras(recipe: Recipe, embodiments: Iterable[Embodiment]) -> dict[str, tuple[str, ...]]:
    """Slot → camera names in order of preference; a role stands for these robots' cameras of it, as their tables go."""
    there = [camera for table in sorted(embodiments, key=lambda one: one.name) for camera in table.cameras]
    return {
        slot: tuple(
            dict.fromkeys(
                name
                for word in words
                for name in ([one.name for one in there if one.role == word] if word in ROLES else [word])
            )
        )
        for slot, words in recipe.cameras.items()
    }


def slot_problems(recipe: Recipe) -> Iterator[Problem]:
    """Slots that are told how to be filled and are not there."""
    for key, slots in (("camera_choice", recipe.camera_choice), ("camera_dropout", recipe.camera_dropout)):
        for slot in slots:
            if slot not in recipe.cameras:
                there = ", ".join(recipe.cameras)
                yield Problem(
                    place=(key, slot), text=f"no slot {slot!r} in `cameras`, expected one of {there}: mend the name"
                )
