"""Every model by its name: built of its sizes, which JSON keeps whole."""

import json
from dataclasses import replace

import pytest
import torch

from model.config import VisionConfig, tiny, tiny_cpu
from model.models import NAMED, build, config_as_json, config_of_json, fitted


@pytest.mark.parametrize("make", NAMED.values(), ids=NAMED.keys())
def test_sizes_come_back_from_json(make):
    assert config_of_json(json.loads(json.dumps(config_as_json(make())))) == make()


@pytest.mark.parametrize("encoder", [VisionConfig(image_size=56), tiny_cpu().image_encoder])
def test_an_image_encoder_is_told_by_its_fields(encoder):
    config = replace(tiny(), image_encoder=encoder)

    assert config_of_json(config_as_json(config)) == config


def test_sizes_of_checkpoints_from_before_there_were_other_models_are_read():
    found = config_as_json(tiny_cpu()) | {"image_encoder_kind": "stem"}
    del found["kind"]

    assert config_of_json(found) == tiny_cpu()


@pytest.mark.parametrize("make", NAMED.values(), ids=NAMED.keys())
def test_every_model_says_what_it_takes(make):
    config = make()
    with torch.device("meta"):
        model = build(config)

    assert model.config == config
    assert (config.image_size > 0, config.max_prompt_tokens > 1, config.vocab_size > 0) == (True,) * 3
    assert config.action_width in {18, 32}


def test_the_datas_sizes_are_taken_where_weights_depend_on_them():
    sizes = {name: fitted(make(), chunk_steps=7, num_cameras=2) for name, make in NAMED.items()}

    assert sizes["octo_style"].chunk_steps == 7
    assert sizes["pi0_small"].num_cameras == sizes["pi0_small_cpu"].num_cameras == 2
    assert sizes["pi0"] == NAMED["pi0"]()


def test_small_models_are_of_the_size_of_tiny_pi0():
    with torch.device("meta"):
        counts = {
            name: sum(weight.numel() for weight in build(NAMED[name]()).parameters())
            for name in ("tiny_cpu", "pi0_small_cpu", "openvla_style", "octo_style")
        }

    assert all(0.5 < count / counts["tiny_cpu"] < 5 for count in counts.values()), counts
