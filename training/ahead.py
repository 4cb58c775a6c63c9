"""Pictures of a remote lake fetched before they are needed, in a bounded memory.

The order tells what comes, so nothing has to be guessed: a picture is fetched because a planned sample needs it, held
while another one within reach does, and never fetched only to be dropped. Samples of one run and segment are fetched
together as far as the memory reaches into the future, side by side in one request. A larger memory therefore means
fewer requests; the bytes stay those that are needed.
"""

import threading
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush

from training.filler import Filler, Sample
from training.sample_plan import Planned
from training.shard_cache import ShardCache

GAP_BYTES = 16 * 2**10
"""Up to so many bytes between two pictures are read and thrown away, since another request costs more."""
_REQUESTS = 6
"""At the same time."""
_MOST_AT_ONCE = 2 * _REQUESTS
"""Pieces asked for while somebody waits: as many again wait for a thread, so that none is idle then."""
_FIRST_GUESS = 64 * 2**10
"""Bytes of a sample's pictures, before any was seen."""
_Frame = tuple[int, int]
_Place = tuple[str, int]
_Piece = tuple[int, int]
_Use = tuple[int, Sample]
"""A planned sample and its number, which counts all that were planned."""


@dataclass(kw_only=True, slots=True, eq=False)
class _Held:
    """One frame's pictures: on their way until `places` are there."""

    piece: _Piece
    uses: deque[_Use]
    """The planned samples that still need it."""
    places: list[_Place] | None = None
    size_bytes: int = 0
    error: Exception | None = None


class Ahead:
    """Fetches for one loader; `expect` what was planned, `wait` before filling, `release` afterwards, in this order."""

    def __init__(self, shards: ShardCache, filler: Filler, *, memory_bytes: int, at_least: int) -> None:
        """Hold so many bytes; the next `at_least` samples, which may be waited for, come even where they are more."""
        self._at_least = at_least
        self._shards, self._filler, self._memory_bytes = shards, filler, memory_bytes
        self._pool = ThreadPoolExecutor(_REQUESTS, thread_name_prefix="robomix-ahead")
        self._changed = threading.Condition()
        self._now = self._end = 0
        """How many samples were released, and planned."""
        self._queue: list[tuple[int, _Piece, Sample]] = []
        """A heap: what is needed first comes first."""
        self._wanted: dict[_Frame, deque[_Use]] = {}
        self._pieces: defaultdict[_Piece, list[_Use]] = defaultdict(list)
        self._held: dict[_Frame, _Held] = {}
        self._holders: Counter[_Place] = Counter()
        """How many frames hold a picture: one of weight 2 stands in two runs."""
        self._held_bytes = self._coming = 0
        self._is_closed = False
        self._seen_bytes, self._seen = 0, 0
        self.peak_bytes = 0
        """The most that was held, or on its way, at any time."""

    @property
    def reach(self) -> int:
        """Samples whose pictures fill the memory: as far as it is worth to plan."""
        return max(self._at_least, int(self._memory_bytes / self._sample_bytes))

    @property
    def held_bytes(self) -> int:
        """Pictures that are held, or on their way, for samples that come."""
        return self._held_bytes

    def expect(self, planned: Planned) -> None:
        """These samples come next."""
        with self._changed:
            for sample, segment in zip(planned.samples, planned.segment_P.tolist(), strict=True):
                frame, use = (sample.run, sample.frame), (self._end, sample)
                if (held := self._held.get(frame)) is not None:
                    held.uses.append(use)
                elif frame in self._wanted:
                    self._wanted[frame].append(use)
                else:
                    self._want((sample.run, segment), deque([use]))
                self._end += 1
            self._send()

    def wait(self, samples: Sequence[Sample]) -> None:
        """Until the pictures of these samples are here; raises what hindered."""
        with self._changed:
            for sample in samples:
                frame = (sample.run, sample.frame)
                self._changed.wait_for(partial(self._is_decided, frame))
                if self._is_closed:
                    raise CancelledError
                if (error := self._held[frame].error) is not None:
                    raise error

    def release(self, samples: Sequence[Sample]) -> None:
        """These samples, the next of those that were expected, are filled."""
        with self._changed:
            reach = self.reach
            for sample in samples:
                frame = (sample.run, sample.frame)
                held = self._held[frame]
                held.uses.popleft()
                if not held.uses or held.uses[0][0] >= self._now + reach:
                    del self._held[frame]
                    self._held_bytes -= held.size_bytes
                    for place in held.places or ():
                        self._let_go(place)
                    if held.uses:  # too far ahead to be held until then
                        self._want(held.piece, held.uses)
            self._now += len(samples)
            self._send()

    def forget(self) -> None:
        """Drop all that was expected, for instance to go on elsewhere."""
        with self._changed:
            self._queue.clear()
            self._wanted.clear()
            self._pieces.clear()
            self._changed.wait_for(lambda: not self._coming)
            self._held.clear()
            self._shards.held.clear()
            self._holders.clear()
            self._held_bytes, self._now = 0, self._end

    def close(self) -> None:
        """Stop fetching, and let go who waits."""
        with self._changed:
            self._is_closed = True
            self._queue.clear()
            self._changed.notify_all()
        self._pool.shutdown(cancel_futures=True)

    # ── what to fetch next; called with the lock held ──────────────────────────────────────────────────────────

    @property
    def _sample_bytes(self) -> float:
        return self._seen_bytes / self._seen if self._seen else _FIRST_GUESS

    def _is_decided(self, frame: _Frame) -> bool:
        """Whether it is known if the frame's pictures are here or never will be."""
        held = self._held.get(frame)
        return self._is_closed or (held is not None and (held.places is not None or held.error is not None))

    def _want(self, piece: _Piece, uses: deque[_Use]) -> None:
        number, sample = uses[0]
        self._wanted[sample.run, sample.frame] = uses
        self._pieces[piece].append(uses[0])
        heappush(self._queue, (number, piece, sample))

    def _send(self) -> None:
        """Ask for the pieces whose first sample comes soonest, as many as memory and their hurry allow."""
        reach = self.reach
        while self._queue:
            number, piece, sample = self._queue[0]
            uses = self._wanted.get((sample.run, sample.frame))
            if uses is None or uses[0][0] != number:  # asked for with another of its piece
                heappop(self._queue)
                continue
            horizon = max(self._at_least, reach // 4)
            if self._coming >= at_once(number - self._now, least=self._at_least, horizon=horizon):
                return
            room = int((self._memory_bytes - self._held_bytes) / self._sample_bytes)
            if room < 1 and number >= self._now + self._at_least:
                return
            self._order(piece, until=self._now + reach, at_most=max(1, room))

    def _order(self, piece: _Piece, *, until: int, at_most: int) -> None:
        """Ask for the piece's samples before `until`, the soonest of them."""
        waiting, taken = sorted(self._pieces.pop(piece)), list[tuple[Sample, ...]]()
        while waiting and len(taken) < at_most and (waiting[0][0] < until or not taken):
            _, sample = waiting.pop(0)
            frame = (sample.run, sample.frame)
            uses = self._wanted.pop(frame)
            self._held[frame] = _Held(piece=piece, uses=uses)
            taken.append(tuple(one for number, one in uses if number < until) or (sample,))
        if waiting:
            self._pieces[piece] = waiting
        reserved = int(len(taken) * self._sample_bytes)
        self._grow(reserved)
        self._coming += 1
        self._pool.submit(self._fetch, taken, reserved)

    def _let_go(self, place: _Place) -> None:
        self._holders[place] -= 1
        if not self._holders[place]:
            del self._holders[place]
            self._shards.held.pop(place, None)

    def _grow(self, size: int) -> None:
        self._held_bytes += size
        self.peak_bytes = max(self.peak_bytes, self._held_bytes)

    # ── fetching; called without it ────────────────────────────────────────────────────────────────────────────

    def _fetch(self, taken: list[tuple[Sample, ...]], reserved: int) -> None:
        found: dict[_Frame, list[tuple[_Place, bytes]]] = {}
        error: Exception | None = None
        try:
            found = dict(self._read(taken))
        except Exception as caught:  # noqa: BLE001 - told where the sample is waited for
            error = caught
        with self._changed:
            self._held_bytes -= reserved
            self._coming -= 1
            for sample, *_ in taken:
                frame = (sample.run, sample.frame)
                held = self._held[frame]
                held.error, held.places = error, None
                if (pictures := found.get(frame)) is not None:
                    held.places = [place for place, _ in pictures]
                    held.size_bytes = sum(len(jpeg) for _, jpeg in pictures)
                    self._shards.held.update(pictures)
                    self._holders.update(held.places)
                self._grow(held.size_bytes)
                if held.size_bytes:
                    self._seen_bytes, self._seen = self._seen_bytes + held.size_bytes, self._seen + 1
            self._send()
            self._changed.notify_all()

    def _read(self, taken: list[tuple[Sample, ...]]) -> Iterator[tuple[_Frame, list[tuple[_Place, bytes]]]]:
        """Frames of one segment, each given by the samples that need it, with their pictures by shard and offset."""
        first = taken[0][0]
        episode, shard = self._filler.episode(first), self._filler.runs[first.run].shard
        spans: dict[_Frame, set[tuple[int, int]]] = {}
        for samples in taken:
            shown = {camera for sample in samples for camera in self._filler.shown(sample, episode) if camera}
            frame = samples[0].frame
            places = episode.places(frame)
            spans[first.run, frame] = {places[camera][:2] for camera in shown}
        pictures: dict[int, bytes] = {}
        for run in _together(sorted(set().union(*spans.values()))):
            start = run[0][0]
            data = self._shards.ranges.read(f"{shard}.tar", start, run[-1][0] + run[-1][1])
            pictures |= {offset: data[offset - start : offset - start + length] for offset, length in run}
        for frame_key, found in spans.items():
            yield frame_key, [((shard, offset), pictures[offset]) for offset, _ in found]


def _together(spans: list[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """(offset, length) pairs in their order, those together that lie close by."""
    group = list[tuple[int, int]]()
    for offset, length in spans:
        if group and offset - sum(group[-1]) > GAP_BYTES:
            yield group
            group = []
        group.append((offset, length))
    if group:
        yield group


def at_once(left: int, *, least: int, horizon: int) -> int:
    """How many pieces may be on their way when the next one is needed after `left` samples.

    None from the horizon on (in samples, at least `least`), then few, since a burst of requests takes the processors
    from decoding, and all of them once only `least` samples are left.
    """
    if left >= horizon:
        return 0
    hurry = min(1.0, (horizon - left) / max(1, horizon - least))
    return max(1, round(_MOST_AT_ONCE * hurry**2))
