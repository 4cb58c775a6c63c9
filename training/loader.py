"""The loader: lock → batches, at about the speed of JPEG decoding. `position` is the whole of its state.

Which sample stands at a position is `curation.order`'s; here threads decode its pictures straight into a ring of
reused padded batches (simplejpeg releases the GIL) and gather its numbers from Arrow. No torch inside, so that it
feeds a plain loop, Ray Train and numpy alike.
"""
# Legend: B samples of this rank, P positions, T frames, H steps of a chunk, W padded width.

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import NamedTuple, Self

from curation.lock import Lock
from schema.errors import ConfigError, problems
from schema.lake import Lake
from training.ahead import Ahead
from training.batch import Batch
from training.filler import Filler, Sample
from training.sample_plan import SamplePlan
from training.shard_cache import ShardCache

_AHEAD = 2
"""Batches in the making beyond the one that is waited for."""


class _Pending(NamedTuple):
    """A batch in the making, of these samples, by these parts of the work."""

    batch: Batch
    samples: list[Sample]
    parts: list[Future[None]]


class Loader:
    """Batches of one rank, from a position on, without end.

    All ranks of a world read one global sequence: step t covers positions [t·G, (t+1)·G) for the global batch
    G = batch_size × world_size, and which of them are this rank's is `curation.order.rank_positions`. A batch's
    arrays are reused: they hold until the next batch is asked for.
    """

    def __init__(
        self,
        lock: Lock,
        *,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        position: int = 0,
        threads: int = 2,
        lake: str | None = None,
        cache_bytes: int = 2 * 2**30,
    ) -> None:
        """Open a lock for reading.

        Args:
            lock: What to read.
            batch_size: B, samples per batch of this rank.
            rank: This reader's number, from 0.
            world_size: How many readers share the sequence.
            position: Where to begin: a multiple of batch_size × world_size, such as `position` of an earlier one.
            threads: Decoding threads; 0 decodes where the batch is asked for.
            lake: The lake's URI, where it has moved since it was locked.
            cache_bytes: At most so much of a remote lake's pictures is kept in memory, of those that come next.
        """
        _check(batch_size=batch_size, rank=rank, world_size=world_size, position=position, threads=threads)
        self.lock, self.batch_size, self.rank, self.world_size = lock, batch_size, rank, world_size
        self.position = position
        """The global position of the next batch; give it to a new loader to go on here."""
        self.shards = ShardCache(Lake(lake or lock.lake), cache_bytes=cache_bytes)
        self._filler = Filler(lock, self.shards)
        self._plan = SamplePlan(lock, self._filler.runs, batch_size=batch_size, rank=rank, world_size=world_size)
        self.ahead: Ahead | None = None
        """What fetches from a remote lake."""
        if not self.shards.is_local:
            at_least = batch_size * (_AHEAD + 2)
            self.ahead = Ahead(self.shards, self._filler, memory_bytes=cache_bytes, at_least=at_least)
            self._plan.watch(self.ahead.expect)
        self._plan.seek(position)
        self._pending: deque[_Pending] = deque()
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="robomix-loader") if threads else None
        self._ring = [self._empty() for _ in range(_AHEAD + 2)]
        self._turn = 0

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        """The next batch of this rank; SchemaError that names shard and sample where its bytes are gone or broken."""
        while len(self._pending) <= (_AHEAD if self._pool else 0):
            self._pending.append(self._begin())
        batch, samples, parts = self._pending[0]
        for part in parts:
            part.result()
        self._pending.popleft()  # one that failed stays, so that nothing is left out by asking again
        if self.ahead is not None:
            self.ahead.release(samples)
        self.position += self.batch_size * self.world_size
        return batch

    def state(self) -> int:
        """All that is needed to go on here: `position`, as one integer."""
        return self.position

    def seek(self, position: int) -> None:
        """Go on at another position, such as an earlier `state()`."""
        _check(
            batch_size=self.batch_size,
            rank=self.rank,
            world_size=self.world_size,
            position=position,
            threads=self._threads,
        )
        for _, _, parts in self._pending:
            for part in parts:
                part.cancel()
            wait(part for part in parts if not part.cancelled())
        self._pending.clear()
        if self.ahead is not None:
            self.ahead.forget()
        self._plan.seek(position)
        self.position = position

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the threads."""
        if self.ahead is not None:
            self.ahead.close()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    # ── what comes next ────────────────────────────────────────────────────────────────────────────────────────

    def _begin(self) -> "_Pending":
        """Start to fill the next free batch of the ring."""
        samples = self._plan.batch()
        if self.ahead is not None and self._plan.ahead < self.ahead.reach:
            self._plan.extend()
        batch = self._ring[self._turn % len(self._ring)]
        self._turn += 1
        if self._pool is None:
            return _Pending(batch, samples, [_done(lambda: self._fill(batch, samples))])
        # What is waited for now is cut into many parts; else into few, since Python that begins anew in a core whose
        # caches the decoder has filled takes twice as long.
        count = -(-self._threads // _AHEAD) if self._pending else self._threads
        parts = [samples[start::count] for start in range(count)]
        return _Pending(batch, samples, [self._pool.submit(self._fill, batch, part) for part in parts if part])

    def _fill(self, batch: Batch, samples: list[Sample]) -> None:
        if self.ahead is not None:
            self.ahead.wait(samples)
        self._filler.fill(batch, samples)

    def _empty(self) -> Batch:
        return Batch.empty(
            self.batch_size,
            num_cameras=len(self.lock.cameras),
            image_size=self.lock.image_size,
            width=self.lock.width,
            steps=self.lock.chunk_steps,
        )


def _done(work: Callable[[], None]) -> Future[None]:
    """The work done here and now, as a thread would have done it."""
    future: Future[None] = Future()
    try:
        work()
        future.set_result(None)
    except Exception as error:  # noqa: BLE001 - raised where the result is asked for
        future.set_exception(error)
    return future


def _check(*, batch_size: int, rank: int, world_size: int, position: int, threads: int) -> None:
    """Raise one ConfigError that lists every word that does not fit."""
    global_batch = max(1, batch_size * world_size)
    lines = []
    if batch_size < 1:
        lines.append(f"batch_size is {batch_size}, expected at least 1")
    if not 0 <= rank < world_size:
        lines.append(f"rank {rank} of world_size {world_size}: expected 0 ≤ rank < world_size")
    if position < 0 or position % global_batch:
        lines.append(f"position is {position}, expected a multiple of batch_size × world_size = {global_batch}")
    if threads < 0:
        lines.append(f"threads is {threads}, expected 0 or more")
    error = problems(ConfigError, "no loader can be made of these numbers:", lines)
    if error is not None:
        raise error
