"""A recipe: the YAML in which a person says what to train on. Parsed once, every problem in one message.

What can be said of a recipe by itself is checked here (its fields: `curation.recipe_model`); what depends on the lake
(sources, columns, action spaces, what shares a slot) in `curation.select` and `curation.compatible`.
`curation.make_lock` turns it into a lock.
"""

import difflib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from curation.recipe_model import (
    Chunk,
    Frames,
    FrameWeight,
    Limit,
    Prompt,
    Quality,
    Recipe,
    Reference,
    SourceChoice,
    Weighting,
)
from curation.recipe_problems import Place, Problem, problems_error
from schema.errors import ConfigError

__all__ = ["Check", "Problem", "Recipe", "SourceChoice", "builtin_recipes", "load_recipe", "parse_recipe"]

Check = Callable[[dict[int, SourceChoice], Recipe | None], Iterable[Problem]]
"""What a lake has against the sound sources (by their place in the list) and, where all of it is sound, the recipe."""


def load_recipe(path: str | Path, *, check: Check | None = None) -> Recipe:
    """The recipe in a YAML file, or a built-in one by name; ConfigError lists every problem, `check`'s among them."""
    file = Path(path)
    if file.is_file():
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ConfigError(f"found bytes that are not UTF-8 text ({error}): expected YAML ({path})") from error
        return parse_recipe(text, where=str(path), check=check)
    builtin = builtin_recipes()
    if str(path) in builtin:
        return parse_recipe(builtin[str(path)], where=f"built-in {path}", check=check)
    raise ConfigError(
        f"no recipe there: expected a YAML file, or the name of a built-in recipe ({', '.join(builtin)}); see "
        f"docs/recipes.md for one to begin with ({path})"
    )


def builtin_recipes() -> dict[str, str]:
    """The texts of the recipes that come with robomix, by name."""
    files = [item for item in resources.files("curation.recipes").iterdir() if item.name.endswith(".yaml")]
    return {
        item.name.removesuffix(".yaml"): item.read_text(encoding="utf-8")
        for item in sorted(files, key=lambda item: item.name)
    }


def parse_recipe(text: str, *, where: str = "recipe", check: Check | None = None) -> Recipe:
    """The recipe in a YAML text; ConfigError lists every problem, and `where` it stands.

    `check` is asked of the sound sources even where other parts are wrong, so that all is told at once.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"not valid YAML: {error}; mend the file ({where})") from error
    if not isinstance(raw, dict):
        raise ConfigError(
            f"found {type(raw).__name__}, expected fields such as `name: …`; see docs/recipes.md ({where})"
        )
    lines: dict[Place, int] = {}
    found = list(_walk(node, (), lines))
    recipe, wrong = _validated(raw)
    found += wrong
    if check:
        found += check(dict(enumerate(recipe.sources)) if recipe else _sound_sources(raw), recipe)
    if found or recipe is None:
        raise problems_error(found, lines, where=where)
    recipe.stands(where, lines)
    return recipe


def _validated(raw: dict[str, Any]) -> tuple[Recipe | None, list[Problem]]:
    try:
        return Recipe.model_validate(raw), []
    except ValidationError as error:
        items = error.errors()
        # A list is called too short where what it holds is wrong: then only the latter is told.
        inside = {item["loc"][:depth] for item in items for depth in range(len(item["loc"]))}
        return None, [_problem(item) for item in items if item["type"] != "too_short" or item["loc"] not in inside]


def _sound_sources(raw: dict[str, Any]) -> dict[int, SourceChoice]:
    """Those of a recipe's sources that can be looked for, by place in the list, without the keys that are wrong."""
    sources = raw.get("sources")
    sound = {}
    for place, source in enumerate(sources if isinstance(sources, list) else []):
        with suppress(ValidationError):
            sound[place] = _sound_source(source)
    return sound


def _sound_source(source: Any) -> SourceChoice:
    try:
        return SourceChoice.model_validate(source)
    except ValidationError as error:
        if not isinstance(source, dict):
            raise
        wrong = {item["loc"][0] for item in error.errors()}
        return SourceChoice.model_validate({key: value for key, value in source.items() if key not in wrong})


def _walk(node: yaml.Node | None, place: Place, lines: dict[Place, int]) -> Iterator[Problem]:
    """Note the line of every place; a key that comes twice is a problem."""
    if node is not None:
        lines.setdefault(place, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _walk(item, (*place, index), lines)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*place, str(key.value))
            if here in lines:
                yield Problem(
                    place=here, text=f"the key {key.value!r} comes again on line {key.start_mark.line + 1}: keep one"
                )
                continue
            lines.setdefault(here, key.start_mark.line + 1)
            yield from _walk(value, here, lines)


def _problem(item: Any) -> Problem:
    """A pydantic error in our words."""
    place = tuple(word for word in item["loc"] if word != "[key]")  # a key that is wrong stands where it does
    fields = _fields(place)
    name = str(place[-1])
    if item["type"] == "extra_forbidden":
        close = difflib.get_close_matches(name, fields, n=1)
        hint = f"did you mean {close[0]!r}?" if close else "take it out"
        return Problem(place=place, text=f"unknown key {name!r}, expected one of {', '.join(fields)}; {hint}")
    if item["type"] == "missing":
        return Problem(place=place, text=f"the key {name!r} is missing: add it")
    expected = item["msg"].replace("Input should be", "expected").replace("Value error, ", "")
    advice = f"; leave it out for {_plain(fields[name])}" if name in fields and fields[name] is not None else ""
    return Problem(place=place, text=f"found {item['input']!r}, {expected[0].lower()}{expected[1:]}{advice}")


def _fields(location: Place) -> dict[str, Any]:
    """The keys that may stand where the last word of this place does, each with its default or None."""
    model: type[BaseModel] = Recipe
    parts: dict[str, type[BaseModel]] = {
        "sources": SourceChoice,
        "weighting": Weighting,
        "quality": Quality,
        "chunk": Chunk,
        "prompt": Prompt,
        "limit": Limit,
        "references": Reference,
        "frames": Frames,
        "frame_weight": FrameWeight,
    }
    if len(location) > 1 and isinstance(location[0], str):
        model = parts.get(location[0], Recipe)
    return {name: None if field.is_required() else field.default for name, field in model.model_fields.items()}


def _plain(value: Any) -> str:
    return str(value.model_dump(mode="json") if isinstance(value, BaseModel) else value)
