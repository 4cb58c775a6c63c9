"""Names in the order in which people number them: episode_2 before episode_10."""

import re


def natural(name: str) -> list[tuple[int, str]]:
    """A key to sort by: the numbers in a name as numbers, the text between them as text."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
