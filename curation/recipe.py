"""A recipe: the YAML in which a person says what to train on. Parsed once, every problem in one message.

What can be said of a recipe by itself is checked here; what depends on the lake (sources, columns, action spaces,
what shares a slot) in `curation.select` and `curation.compatible`. `curation.make_lock` turns it into a lock.
"""

import difflib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, StringConstraints, ValidationError

from curation.chunks import ActionForm
from schema.embodiment import Name
from schema.errors import ConfigError
from schema.layout import DEFAULT_WIDTH, LayoutName
from schema.picture import IMAGE_SIZE

Place = tuple[str | int, ...]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that is wrong with a recipe: where it stands, and what was found, expected and is to be done."""

    place: Place
    text: str


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SourceChoice(_Part):
    """Episodes of one source of the lake."""

    source: Text
    where: Text | None = None
    """A Polars SQL expression over the columns of `episodes`; episodes where it is true are taken."""
    action_space: Name | None = None
    """None: the embodiment's default."""
    boost: float = Field(default=1.0, gt=0)
    """Multiplies the weight of the components that it fills."""


class Weighting(_Part):
    """A component of n frames weighs boost * n**alpha."""

    alpha: float = Field(default=0.43, ge=0, le=2)
    """The π0 paper's 0.43; 0 draws all components alike, 1 in proportion to their frames."""


class Chunk(_Part):
    """How many actions the policy gives at once."""

    steps: int = Field(default=50, ge=1, le=1000)


class Prompt(_Part):
    """What stands before the instruction."""

    tag: bool = False
    """Whether the robot, its action space and its rate do."""


class Limit(_Part):
    """At most so much of each component, by a keyed hash: a smaller limit is a subset of a larger one."""

    episodes: int = Field(ge=1)


def _success(value: object) -> object:
    """YAML's true and false as the words that they are written as."""
    return str(value).lower() if isinstance(value, bool) else value


class Recipe(_Part):
    """What to train on, and how it is to be presented."""

    name: Text
    sources: tuple[SourceChoice, ...] = Field(min_length=1)
    weighting: Weighting = Weighting()
    layout: LayoutName = "pi"
    width: int = Field(default=DEFAULT_WIDTH, ge=1, le=4096)
    chunk: Chunk = Chunk()
    action_form: ActionForm = "stored"
    statistics: Literal["agreeing", "pooled", "by_source"] = "agreeing"
    """Whether all sources of a robot are normalized together: only where they agree, always, or each by itself."""
    cameras: dict[Name, Annotated[tuple[Name, ...], Field(min_length=1)]] = Field(
        default={"base": ("base",), "left_wrist": ("left_wrist",), "right_wrist": ("right_wrist",)}, min_length=1
    )
    """Model slot → camera names in order of preference; the first that an episode has is shown."""
    image_size: int = Field(default=IMAGE_SIZE, ge=14, le=1024)
    success: Annotated[Literal["any", "true", "false"], BeforeValidator(_success)] = "any"
    prompt: Prompt = Prompt()
    held_out: float = Field(default=0.0, ge=0, lt=1)
    """Share of episodes that no training sample is drawn from; the same episodes for every seed."""
    limit: Limit | None = None
    seed: int = Field(default=0, ge=0, lt=2**63)
    _lines: dict[Place, int] = PrivateAttr(default_factory=dict)
    _where: str = PrivateAttr(default="recipe")

    def stands(self, where: str, lines: dict[Place, int]) -> None:
        """Remember the file and its lines, for messages only."""
        self._where = where
        self._lines = lines

    def refuse(self, found: Iterable[Problem]) -> None:
        """ConfigError with every problem and the line of the file on which it stands; nothing where there is none."""
        if problems := list(found):
            raise _error(problems, self._lines, self._where)


Check = Callable[[dict[int, SourceChoice], Recipe | None], Iterable[Problem]]
"""What a lake has against the sound sources (by their place in the list) and, where all of it is sound, the recipe."""


def load_recipe(path: str | Path, *, check: Check | None = None) -> Recipe:
    """The recipe in a YAML file; ConfigError lists every problem, those that `check` finds among them."""
    file = Path(path)
    if not file.is_file():
        raise ConfigError(f"no recipe there: expected a YAML file; see docs/recipes.md for one to begin with ({path})")
    return parse_recipe(file.read_text(encoding="utf-8"), where=str(path), check=check)


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
        raise _error(found, lines, where)
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
    place, fields = tuple(item["loc"]), _fields(item["loc"])
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
        "chunk": Chunk,
        "prompt": Prompt,
        "limit": Limit,
    }
    if len(location) > 1 and isinstance(location[0], str):
        model = parts.get(location[0], Recipe)
    return {name: None if field.is_required() else field.default for name, field in model.model_fields.items()}


def _plain(value: Any) -> str:
    return str(value.model_dump(mode="json") if isinstance(value, BaseModel) else value)


def _error(found: list[Problem], lines: dict[Place, int], where: str) -> ConfigError:
    """One error that lists every problem, those of the first lines first."""
    told = sorted(
        ((_line(problem.place, lines), problem) for problem in dict.fromkeys(found)), key=lambda item: item[0]
    )
    title = f"the recipe has {len(told)} problem{'s' * (len(told) != 1)} ({where}):"
    return ConfigError("\n".join([title, *(f"  - {_spell(problem, line)}" for line, problem in told)]))


def _line(place: Place, lines: dict[Place, int]) -> int:
    """The line on which a place, or else what holds it, stands; 0 where it is not known."""
    while place and place not in lines:
        place = place[:-1]
    return lines.get(place, 0) if place else 0


def _spell(problem: Problem, line: int) -> str:
    place = "".join(f"[{word}]" if isinstance(word, int) else f".{word}" for word in problem.place).removeprefix(".")
    at = ", ".join(word for word in (f"line {line}" if line else "", place) if word)
    return f"{at}: {problem.text}" if at else problem.text
