"""What a plan tells of a mixture is what the loader gives of it."""

from collections import Counter

import numpy as np
import pytest

from curation.make_lock import make_lock
from curation.plan import plan
from curation.recipe import parse_recipe
from training.loader import Loader

RECIPE = """
name: tiny
sources: [{source: tiny}]
image_size: 64
prompt: {tag: true, dropout: 0.3}
chunk: {steps: 6, rate_hz: 12}
frames: {every: 2, skip_start_s: 0.1}
cameras: {base: [exterior], left: [left_wrist], right: [right_wrist]}
camera_dropout: {base: 0.5, left: 0.3, right: 0.1}
"""
_BATCH, _BATCHES = 64, 40


def test_what_a_plan_tells_is_what_the_loader_gives(lake):
    recipe = parse_recipe(RECIPE)
    planned, lock = plan(recipe, lake, steps=_BATCHES, batch=_BATCH), make_lock(recipe, lake)
    drawn, batches = Counter(), []
    with Loader(lock, batch_size=_BATCH) as loader:
        for _ in range(_BATCHES):
            batch = next(loader)
            drawn.update(lock.components[index].name for index in batch.components)
            batches.append((batch.step_mask.mean(), batch.image_mask.mean(axis=0), batch.state_mask.mean(axis=0)))
            batches[-1] += (np.mean([prompt.endswith(": ") for prompt in batch.prompts]),)

    shown, (steps, pictures, states, silent) = (
        planned.presentation,
        (np.mean(part, axis=0) for part in zip(*batches, strict=True)),
    )
    for one in planned.components:
        assert drawn[one.component] == pytest.approx(one.share * _BATCH * _BATCHES, rel=0.1)
    assert steps == pytest.approx(shown.valid_steps, abs=0.01)
    assert pictures == pytest.approx(list(shown.camera_coverage.values()), abs=0.04)
    assert tuple(np.flatnonzero(states == 0)) == shown.unused_state_slots
    assert silent == pytest.approx(shown.prompt_dropout, abs=0.04)
