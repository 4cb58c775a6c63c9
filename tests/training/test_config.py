"""A training config says what it cannot be used for, and its schedule warms up and comes down."""

from dataclasses import replace

import pytest

from schema.errors import ConfigError
from training.config import TINY_CPU, named

SHORT = replace(TINY_CPU, steps=100, warmup_steps=10, peak_lr=1.0, final_lr=0.1)


def test_the_learning_rate_rises_to_its_peak_over_the_warm_up():
    rates = [SHORT.learning_rate(step) for step in range(11)]

    assert rates == sorted(rates)
    assert rates[0] == pytest.approx(1 / 11)
    assert rates[10] == 1.0


def test_the_learning_rate_comes_down_to_its_end_by_a_cosine():
    assert SHORT.learning_rate(55) == pytest.approx(0.55)
    assert SHORT.learning_rate(100) == pytest.approx(0.1)
    assert SHORT.learning_rate(1000) == pytest.approx(0.1)


def test_every_number_that_cannot_be_is_told_at_once():
    with pytest.raises(ConfigError) as caught:
        replace(TINY_CPU, steps=0, global_batch=0, model="huge", final_lr=1.0, ema_decay=1.0)

    message = str(caught.value)
    for expected in ("steps is 0", "global_batch is 0", "model is 'huge'", "final_lr is 1", "ema_decay is 1"):
        assert expected in message


def test_an_unknown_name_is_told_with_those_there_are():
    with pytest.raises(ConfigError, match=r"no training config 'pi9'.*tiny_cpu"):
        named("pi9")


def test_another_number_of_steps_scales_the_warm_up():
    config = named("tiny_cpu", steps=TINY_CPU.steps // 2)

    assert (config.steps, config.warmup_steps) == (TINY_CPU.steps // 2, TINY_CPU.warmup_steps // 2)
    assert named("tiny_cpu", steps=1).warmup_steps == 0
