"""Which components may stand in the same slots: those that mean the same there, or tell the model which they are."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from schema.embodiment import Dimension
from schema.layout import LayoutName

_MAX_NAMED = 2
_MAX_TOLD = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A component as it stands in the padded vectors: slot → dimension."""

    name: str
    rate_hz: float
    state: Mapping[int, Dimension]
    action: Mapping[int, Dimension]


def clashes(members: Sequence[Member], layout: LayoutName) -> Iterator[str]:
    """One message that names slots and components where a slot means different things; nothing where none does."""
    told = [*_slots(members, "state"), *_slots(members, "action")]
    if not told:
        return
    other = "" if layout == "semantic" else "`layout: semantic` where the rates agree, or "
    more = f"; and {len(told) - _MAX_TOLD} more" if len(told) > _MAX_TOLD else ""
    yield (
        f"components share slots that mean different things: {'; '.join(told[:_MAX_TOLD])}{more}. Expected the same "
        "quantity, unit, frame, mode, rotation and rate: set `prompt: {tag: true}` so that the model is told which "
        f"robot it is, or choose {other}fewer sources"
    )


def _slots(members: Sequence[Member], role: str) -> Iterator[str]:
    """Each stretch of slots that components use differently, with who uses it how."""
    widest = max((slot for member in members for slot in _of(member, role)), default=-1)
    stretch: list[int] = []
    previous: dict[str, list[str]] = {}
    for slot in range(widest + 2):
        meanings: dict[str, list[str]] = {}
        for member in members:
            if slot in _of(member, role):
                meanings.setdefault(_meaning(member, _of(member, role)[slot], role), []).append(member.name)
        if stretch and meanings != previous:
            if len(previous) > 1:
                yield _told(role, stretch, previous)
            stretch = []
        stretch.append(slot)
        previous = meanings


def _of(member: Member, role: str) -> Mapping[int, Dimension]:
    return member.state if role == "state" else member.action


def _meaning(member: Member, dimension: Dimension, role: str) -> str:
    signal = dimension.signal
    words = [signal.quantity, dimension.unit, f"in {signal.frame}", signal.mode, signal.rotation or ""]
    rate = [f"at {member.rate_hz:g} Hz"] if role == "action" else []
    return " ".join(word for word in [*words, *rate] if word)


def _told(role: str, stretch: list[int], meanings: Mapping[str, list[str]]) -> str:
    where = f"slots {stretch[0]}–{stretch[-1]}" if len(stretch) > 1 else f"slot {stretch[0]}"
    uses = [f"{meaning} for {_named(names)}" for meaning, names in sorted(meanings.items())]
    return f"{role} {where} ({' / '.join(uses)})"


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return ", ".join(map(repr, names[:_MAX_NAMED])) + more
