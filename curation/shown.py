"""Which camera each of a model's slots shows: a function of the lock, the position, and the cameras an episode has."""

from functools import lru_cache

from curation.feistel import fraction
from curation.lock import Lock

_CAMERA, _CAMERA_DROPOUT = 12, 13
"""The purposes, in keys of randomness, of choosing among several cameras, and of leaving pictures away."""


class ShownCameras:
    """Chooses for one lock; safe for many threads."""

    def __init__(self, lock: Lock, *, drops: bool = True) -> None:
        """Read what the slots show; with `drops` pictures are left away, as the lock says how often."""
        self._seed, self._choices = lock.seed, tuple(lock.cameras.values())
        self._any_slots = frozenset(index for index, slot in enumerate(lock.cameras) if slot in lock.any_cameras)
        self._dropout = lock.camera_dropout if drops else ()
        self._first = lru_cache(self._first_there)

    def __call__(self, there: tuple[str, ...], position: int) -> tuple[str | None, ...]:
        """The camera of each slot: the first that it names and the episode has, or any one of these; None for none."""
        shown = self._first(there)
        if self._any_slots:
            shown = tuple(
                self._any_there(slot, position, there) if slot in self._any_slots else camera
                for slot, camera in enumerate(shown)
            )
        if not self._dropout:
            return shown
        kept = tuple(
            camera if fraction(self._seed, position, _CAMERA_DROPOUT, slot) >= share else None
            for slot, (camera, share) in enumerate(zip(shown, self._dropout, strict=True))
        )
        return kept if any(kept) else shown

    def _first_there(self, there: tuple[str, ...]) -> tuple[str | None, ...]:
        return tuple(next((name for name in names if name in there), None) for names in self._choices)

    def _any_there(self, slot: int, position: int, there: tuple[str, ...]) -> str | None:
        names = [name for name in self._choices[slot] if name in there]
        return names[int(fraction(self._seed, position, _CAMERA, slot) * len(names))] if names else None
