"""Released weights are loaded whole, by their own names, or not at all."""

import pytest
import torch

from model.pi0 import Pi0
from model.weights import WeightsError, load_openpi, openpi_names, unused_names
from tests.model.sizes import STEM, VIT, make_model

EMBEDDING = "paligemma_with_expert.paligemma.model.language_model.embed_tokens.weight"
HEAD = "paligemma_with_expert.paligemma.lm_head.weight"


@pytest.fixture
def source():
    return make_model(VIT, seed=3)


@pytest.fixture
def released(source):
    """The source's weights under openpi's names, with some of what its files hold besides."""
    ours = dict(source.named_parameters())
    tensors = {theirs: ours[name].detach().clone() for name, theirs in openpi_names(VIT).items()}
    return {**tensors, **{name: torch.zeros(1) for name in unused_names(VIT) if name != HEAD}}


def _is_equal(model, source):
    expected = dict(source.named_parameters())
    return all(torch.equal(weight, expected[name]) for name, weight in model.named_parameters())


def test_names_cover_every_weight_once(source):
    names = openpi_names(VIT)
    assert names.keys() == dict(source.named_parameters()).keys()
    assert len(set(names.values())) == len(names)
    assert not unused_names(VIT) & set(names.values())


@pytest.mark.parametrize("prefix", ["", "model."])
def test_openpi_and_lerobot_files_load(source, released, prefix):
    model = Pi0(VIT)
    ignored = load_openpi(model, {prefix + name: tensor for name, tensor in released.items()})
    assert _is_equal(model, source)
    assert set(ignored) == unused_names(VIT) - {HEAD}


def test_the_tied_head_stands_in_for_a_missing_embedding(source, released):
    released[HEAD] = released.pop(EMBEDDING)
    model = Pi0(VIT)
    load_openpi(model, released)
    assert _is_equal(model, source)


def test_a_stale_head_does_not_replace_the_embedding(source, released):
    released[HEAD] = torch.full_like(released[EMBEDDING], 9.0)
    model = Pi0(VIT)
    assert HEAD in load_openpi(model, released)
    assert _is_equal(model, source)


def test_every_misfit_is_in_one_error_and_nothing_is_copied(released):
    model, untouched = make_model(VIT, seed=4), make_model(VIT, seed=4)
    del released["state_proj.bias"]
    released["state_proj.scale"] = torch.zeros(2)
    released["action_in_proj.weight"] = torch.zeros(3, 5)
    with pytest.raises(WeightsError) as error:
        load_openpi(model, released)
    assert "missing: state_proj.bias [16]" in str(error.value)
    assert "unexpected: state_proj.scale [2]" in str(error.value)
    assert "mis-shaped: action_in_proj.weight is [3, 5], expected [16, 6]" in str(error.value)
    assert _is_equal(model, untouched)


def test_a_model_with_a_stem_has_no_released_weights():
    with pytest.raises(ValueError, match="only models with SigLIP"):
        openpi_names(STEM)
