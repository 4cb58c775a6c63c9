"""Names of the released files: all of them are known, and what we write has just theirs."""

import json
from pathlib import Path

import pytest
import torch

from model.config import pi0, tiny
from model.pi0 import Pi0
from model.weight_names import (
    EMBEDDING,
    EXPERT_EMBEDDING,
    TIED_HEAD,
    openpi_name,
    openpi_names,
    unused_shapes,
)
from model.weights import export_lerobot, export_openpi
from tests.model.sizes import STEM

LISTS = Path(__file__).parents[2] / "../shared/oracle"
VLM = "paligemma_with_expert.paligemma.model."

needs_lists = pytest.mark.skipif(not LISTS.is_dir(), reason=f"no lists of released names at {LISTS}")


@pytest.fixture(scope="module")
def released_size():
    with torch.device("meta"):
        return Pi0(pi0())


def _released(peer):
    shapes = json.loads((LISTS / f"keys_real_{peer}.json").read_text())
    return {name: tuple(shape) for name, shape in shapes.items()}


@needs_lists
@pytest.mark.parametrize("peer", ["openpi", "lerobot", "hf"])
def test_all_names_of_the_released_files_are_known(peer, released_size):
    shapes = {openpi_name(name): shape for name, shape in _released(peer).items()}
    ours = dict(released_size.named_parameters())
    wanted = {theirs: tuple(ours[name].shape) for name, theirs in openpi_names(pi0()).items()}
    unused = unused_shapes(pi0())
    assert {name: shape for name, shape in shapes.items() if name not in unused} == wanted
    assert {name: shape for name, shape in shapes.items() if name in unused}.items() <= unused.items()
    absent = {"hf": {TIED_HEAD, "paligemma_with_expert.gemma_expert.lm_head.weight"}}
    assert unused.keys() - shapes.keys() == absent.get(peer, {EXPERT_EMBEDDING})


@needs_lists
def test_what_is_written_for_openpi_has_its_names_but_for_the_tied_embedding(released_size):
    written = {name: tuple(tensor.shape) for name, tensor in export_openpi(released_size).items()}
    expected = _released("openpi")
    del expected[EMBEDDING]
    assert written == expected


@needs_lists
def test_what_is_written_for_lerobot_has_its_names_behind_a_prefix(released_size):
    written = {name: tuple(tensor.shape) for name, tensor in export_lerobot(released_size).items()}
    assert written == {f"model.{name}": shape for name, shape in _released("lerobot").items()}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("model.state_proj.weight", "state_proj.weight"),
        ("model.time_mlp_in.bias", "action_time_mlp_in.bias"),
        ("embed_action_time.action_time_mlp_in.bias", "action_time_mlp_in.bias"),
        ("language_model.model.layers.3.mlp.up_proj.weight", f"{VLM}language_model.layers.3.mlp.up_proj.weight"),
        ("language_model.lm_head.weight", TIED_HEAD),
        ("lm_head.weight", TIED_HEAD),
        ("vision_tower.vision_model.post_layernorm.bias", f"{VLM}vision_tower.vision_model.post_layernorm.bias"),
        ("model.vision_tower.post_layernorm.bias", f"{VLM}vision_tower.vision_model.post_layernorm.bias"),
        ("model.vlm.vision_tower.post_layernorm.bias", f"{VLM}vision_tower.vision_model.post_layernorm.bias"),
        ("multi_modal_projector.linear.bias", f"{VLM}multi_modal_projector.linear.bias"),
        ("model.language_model.embed_tokens.weight", EMBEDDING),
        ("model.dit.norm.weight", "paligemma_with_expert.gemma_expert.model.norm.weight"),
        ("somebody.elses", "somebody.elses"),
    ],
)
def test_names_of_others_become_openpis(name, expected):
    assert openpi_name(name) == expected
    assert openpi_name(expected) == expected


def test_names_cover_every_weight_once():
    names = openpi_names(tiny())
    with torch.device("meta"):
        assert names.keys() == dict(Pi0(tiny()).named_parameters()).keys()
    assert len(set(names.values())) == len(names)
    assert not unused_shapes(tiny()).keys() & set(names.values())


def test_a_model_with_a_stem_has_no_released_weights():
    with pytest.raises(ValueError, match="only models with SigLIP"):
        openpi_names(STEM)
