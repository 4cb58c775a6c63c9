"""`where`: the episodes of which a Polars SQL expression is true."""

import difflib
import re

import polars as pl
from polars.exceptions import PolarsError

from curation.catalogue import VERDICT_COLUMNS, Catalogue
from schema.errors import ConfigError


def matching(catalogue: Catalogue, where: str) -> pl.LazyFrame:
    """The rows of `episodes`, with the scores and verdicts that it names, of which it is true; else ConfigError."""
    try:
        expression = pl.sql_expr(where)
        kept = catalogue.joined(expression.meta.root_names()).filter(expression)
        kept.head(1).collect()  # types are looked at only when it runs
    except PolarsError as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        if unknown := re.match(r'unable to find column "([^"]*)"', reason):
            there = [*catalogue.columns, *catalogue.metrics, *VERDICT_COLUMNS]
            close = difflib.get_close_matches(unknown[1], there, n=1)
            hint = f"did you mean {close[0]!r}?" if close else "`robomix lake info` lists them"
            reason = f"no column {unknown[1]!r} in the episodes table, and no score of that name; {hint}"
        raise ConfigError(
            f"found {where!r}: {reason}; expected a Polars SQL expression that is true or false of an episode, "
            "such as num_frames >= 20"
        ) from error
    return kept
