"""What is wrong with a recipe: where it stands in the file, and one error that tells all of it at once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from schema.errors import ConfigError

Place = tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that is wrong with a recipe: where it stands, and what was found, expected and is to be done."""

    place: Place
    text: str


def problems_error(found: Iterable[Problem], lines: Mapping[Place, int], *, where: str) -> ConfigError:
    """One error that lists every problem, those of the first lines first."""
    told = sorted(
        ((_line(problem.place, lines), problem) for problem in dict.fromkeys(found)), key=lambda item: item[0]
    )
    title = f"the recipe has {len(told)} problem{'s' * (len(told) != 1)} ({where}):"
    return ConfigError("\n".join([title, *(f"  - {_spell(problem, line)}" for line, problem in told)]))


def _line(place: Place, lines: Mapping[Place, int]) -> int:
    """The line on which a place, or else what holds it, stands; 0 where it is not known."""
    while place and place not in lines:
        place = place[:-1]
    return lines.get(place, 0) if place else 0


def _spell(problem: Problem, line: int) -> str:
    place = "".join(f"[{word}]" if isinstance(word, int) else f".{word}" for word in problem.place).removeprefix(".")
    at = ", ".join(word for word in (f"line {line}" if line else "", place) if word)
    return f"{at}: {problem.text}" if at else problem.text
