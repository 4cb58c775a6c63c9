"""Which episodes a page is about; every field is a parameter of the page's URL."""

from dataclasses import dataclass

import polars as pl

NO_TASK = "(no task)"
OUTCOMES = ("success", "failure", "unknown")
ORIGINS = ("real", "simulated", "unknown")

TASK = pl.col("task").fill_null(NO_TASK)
OUTCOME = pl.col("success").replace_strict({True: "success", False: "failure"}, default="unknown")
ORIGIN = pl.col("is_simulated").replace_strict({True: "simulated", False: "real"}, default="unknown")


@dataclass(frozen=True, kw_only=True, slots=True)
class Filters:
    """Chosen values per column; none chosen means that all are wanted."""

    source: tuple[str, ...] = ()
    embodiment: tuple[str, ...] = ()
    task: tuple[str, ...] = ()
    outcome: tuple[str, ...] = ()
    origin: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    """Cameras that the robot has and the episode lacks, any of them."""

    def component(self) -> pl.Expr:
        """Whether a row of any table with source, embodiment and task is wanted."""
        chosen = {"source": pl.col("source"), "embodiment": pl.col("embodiment"), "task": TASK}
        return pl.all_horizontal(
            pl.lit(value=True),
            *(column.is_in(values) for name, column in chosen.items() if (values := getattr(self, name))),
        )

    def episode(self) -> pl.Expr:
        """Whether a row of `episodes` is wanted."""
        wanted = [self.component()]
        if self.outcome:
            wanted.append(OUTCOME.is_in(self.outcome))
        if self.origin:
            wanted.append(ORIGIN.is_in(self.origin))
        if self.absent:
            names = pl.col("absent_cameras").list.eval(pl.element().struct.field("camera").is_in(list(self.absent)))
            wanted.append(names.list.any().fill_null(value=False))
        return pl.all_horizontal(wanted)

    def parameters(self, **changed: tuple[str, ...] | str) -> dict[str, list[str] | str]:
        """The URL of the list of episodes for these filters with some `changed`; what is not chosen is left out."""
        values = {name: getattr(self, name) for name in self.__slots__} | changed
        return {list_key(name): v if isinstance(v, str) else list(v) for name, v in values.items() if v}


def list_key(name: str) -> str:
    """A filter's parameter in the URL of the list of episodes: the plural.

    The overview has the singular. Streamlit lets a parameter that is bound to a widget belong to one page only, so a
    link from page to page can carry filters only where the other page calls them otherwise.
    """
    return f"{name}s" if name in {"source", "embodiment", "task", "outcome", "origin"} else name
