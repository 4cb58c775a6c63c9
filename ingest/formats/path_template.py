"""Paths that a dataset's metadata spells as templates, such as `data/chunk-{episode_chunk:03d}`.

Python's own `format` would follow attributes, and pad a number with as many zeros as a template asks for.
"""

import re
from string import Formatter

_SPEC = re.compile(r"(0?\d{1,2}d)?")


def filled(template: str, **values: int | str) -> str:
    """The path; ValueError where a field is none of the values, or asks for more than two digits' width."""
    for _, name, spec, _ in Formatter().parse(template):
        if name is not None and (name not in values or not _SPEC.fullmatch(spec or "")):
            raise ValueError(f"found the field {{{name}:{spec}}}, expected {', '.join(values)}, with a width like 06d")
    return template.format(**values)
