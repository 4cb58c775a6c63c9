"""What a replay tells of a position is what the loader gives there."""

import pytest

from curation.replay import samples_at
from training.loader import Loader

CHOICES = {
    "frames": "{every: 2, min_steps: 2}",
    "prompt": "{tag: true, dropout: 0.5, text: [instruction, task, segment]}",
    "chunk": "{steps: 5, rate_hz: 10}",
}


@pytest.mark.parametrize("lines", [{}, CHOICES], ids=["plain", "choices"])
@pytest.mark.parametrize("position", [0, 6, 600, 6 * 10**6])
def test_a_replay_tells_what_the_loader_gives(make, lines, position):
    lock = make(**lines)
    with Loader(lock, batch_size=6, position=position, threads=0) as loader:
        batch = next(loader)
        given = list(zip(batch.positions.tolist(), batch.sample_ids, batch.prompts, strict=True))
        components = [lock.components[index].name for index in batch.components]
    told = list(samples_at(lock, position, count=6))
    assert [(one.position, f"{one.episode_id}-{one.frame:06d}", one.prompt) for one in told] == given
    assert [one.component for one in told] == components
