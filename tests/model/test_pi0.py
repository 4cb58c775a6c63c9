"""The model as a function: what changes its results, what does not, and what shapes it takes."""

import shutil
from dataclasses import replace

import pytest
import torch

from model.config import NAMED, StemConfig, pi0, pi0_paper, tiny_cpu
from model.gemma import RMSNorm
from model.initialize import initialize
from model.observation import Observation, normalize_images
from model.pi0 import Pi0
from tests.model.sizes import STEM, VIT, make_actions, make_model, make_observation

CONFIGS = pytest.mark.parametrize("config", [STEM, VIT], ids=["stem", "vit"])
TIME = torch.tensor([0.2, 0.7, 1.0])


def _velocity(model, observation, *, steps=4, time=TIME):
    actions = make_actions(model.config, batch=len(observation.state), steps=steps)
    with torch.no_grad():
        return model(observation, actions, time)


def _without_camera(observation, camera, *, rows=slice(None)):
    mask = observation.image_mask.clone()
    mask[rows, camera] = False
    return replace(observation, image_mask=mask)


def test_released_pi0_has_its_number_of_weights():
    with torch.device("meta"):
        model = Pi0(pi0())
    width, mlp = 2048, 16_384
    unread = 2 * width * 8 * 256 + 3 * width * mlp + 2 * width  # last VLM queries, output, MLP and norm; final norm
    count = sum(weight.numel() for weight in model.parameters())
    assert count == 3_128_992_528
    assert count + unread == 3_238_048_528


def test_the_papers_pi0_differs_in_its_projections_alone():
    with torch.device("meta"):
        shapes = [{name: weight.shape for name, weight in Pi0(make()).named_parameters()} for make in (pi0, pi0_paper)]
    different = {name for name in shapes[0] if shapes[0][name] != shapes[1][name]}
    names = ("state_proj.weight", "action_in_proj.weight", "action_out_proj.weight", "action_out_proj.bias")
    assert different == set(names)
    assert shapes[1]["state_proj.weight"] == (1024, 18)


@pytest.mark.parametrize("make", NAMED.values(), ids=NAMED.keys())
def test_no_module_is_dead(make):
    with torch.device("meta"):
        model = Pi0(make())
    last = model.layers[-1].vlm
    assert {name for name, _ in last.named_parameters()} == {"input_norm.weight", "k_proj.weight", "v_proj.weight"}
    assert not any("lm_head" in name for name, _ in model.named_parameters())
    assert not list(model.buffers())


def test_tiny_model_is_small():
    assert sum(weight.numel() for weight in Pi0(tiny_cpu()).parameters()) < 1_000_000


@CONFIGS
@pytest.mark.parametrize(("batch", "cameras", "tokens", "steps"), [(1, 1, 1, 1), (2, 3, 7, 9), (3, 2, 5, 50)])
def test_batch_cameras_prompt_and_chunk_have_any_size(config, batch, cameras, tokens, steps):
    model = make_model(config)
    observation = make_observation(config, batch=batch, cameras=cameras, tokens=tokens)
    velocity = _velocity(model, observation, steps=steps, time=TIME[:batch])
    assert velocity.shape == (batch, steps, config.action_width)
    assert velocity.isfinite().all()


@CONFIGS
def test_samples_of_a_batch_do_not_touch_each_other(config):
    model, observation = make_model(config), make_observation(config)
    together = _velocity(model, observation)
    alone = Observation(**{name: getattr(observation, name)[1:2] for name in Observation.__slots__})
    with torch.no_grad():
        only = model(alone, make_actions(config)[1:2], TIME[1:2])
    torch.testing.assert_close(only, together[1:2], atol=1e-5, rtol=1e-4)


@CONFIGS
@pytest.mark.parametrize("what", ["images", "tokens", "state"])
def test_everything_observed_matters(config, what):
    model, observation = make_model(config), make_observation(config)
    seen = getattr(observation, what)
    other = replace(observation, **{what: config.vocab_size - 1 - seen if what == "tokens" else -seen})
    assert (_velocity(model, observation) - _velocity(model, other)).abs().amax(dim=(1, 2)).min() > 1e-4


@CONFIGS
def test_what_an_absent_camera_holds_changes_nothing(config):
    model = make_model(config)
    observation = _without_camera(make_observation(config), 1)
    images = observation.images.clone()
    images[:, 1] = -images[:, 1] * 0.5
    assert torch.equal(_velocity(model, observation), _velocity(model, replace(observation, images=images)))


@CONFIGS
def test_the_slot_of_an_absent_camera_changes_nothing(config):
    model = make_model(config)
    observation = _without_camera(make_observation(config, cameras=3), 1)
    order = [0, 2, 1]
    moved = replace(observation, images=observation.images[:, order], image_mask=observation.image_mask[:, order])
    torch.testing.assert_close(_velocity(model, moved), _velocity(model, observation), atol=1e-5, rtol=1e-4)


@CONFIGS
def test_an_absent_camera_equals_none_at_all(config):
    model = make_model(config)
    observation = _without_camera(make_observation(config), 0)
    dropped = replace(observation, images=observation.images[:, 1:], image_mask=observation.image_mask[:, 1:])
    torch.testing.assert_close(_velocity(model, dropped), _velocity(model, observation), atol=1e-5, rtol=1e-4)


@CONFIGS
def test_padded_tokens_change_nothing(config):
    model, observation = make_model(config), make_observation(config)
    padding = torch.zeros(3, 4, dtype=torch.int64)
    longer = replace(
        observation,
        tokens=torch.cat([observation.tokens.where(observation.token_mask, 1), padding], dim=1),
        token_mask=torch.cat([observation.token_mask, padding.bool()], dim=1),
    )
    torch.testing.assert_close(_velocity(model, longer), _velocity(model, observation), atol=1e-5, rtol=1e-4)
    assert torch.equal(longer.trimmed().tokens, longer.tokens[:, :3])  # the longest of three has three


@CONFIGS
def test_what_is_absent_in_every_sample_is_not_computed(config):
    model = make_model(config)
    observation = _without_camera(_without_camera(make_observation(config, cameras=3), 0), 2)
    trimmed = observation.trimmed()
    assert trimmed.images.shape[1] == 1
    assert torch.equal(trimmed.images[:, 0], observation.images[:, 1])
    torch.testing.assert_close(_velocity(model, trimmed), _velocity(model, observation), atol=1e-5, rtol=1e-4)


def test_something_is_left_where_nothing_is_there():
    blind = _without_camera(_without_camera(make_observation(STEM), 0), 1)
    nothing = replace(blind, token_mask=torch.zeros_like(blind.token_mask)).trimmed()
    assert nothing.images.shape[1] == nothing.tokens.shape[1] == 1
    assert _velocity(make_model(STEM), nothing).isfinite().all()


@CONFIGS
def test_nothing_to_see_and_nothing_said_is_finite_with_finite_gradients(config):
    model, observation = make_model(config), make_observation(config)
    blind = _without_camera(_without_camera(observation, 0), 1, rows=[0, 2])
    deaf = replace(blind, token_mask=torch.zeros_like(blind.token_mask))
    velocity = model(deaf, make_actions(config), TIME)
    velocity.square().mean().backward()
    assert velocity.isfinite().all()
    assert all(weight.grad.isfinite().all() for weight in model.parameters())


@CONFIGS
def test_every_weight_gets_a_gradient(config):
    model = make_model(config)
    model(make_observation(config), make_actions(config), TIME).square().mean().backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()] == []


@CONFIGS
def test_sampling_over_the_cache_equals_full_passes(config):
    model, observation, actions = make_model(config), make_observation(config), make_actions(config)
    cached = model.sample(observation, actions, steps=5)
    with torch.no_grad():
        for step in range(5):
            actions = actions - model(observation, actions, torch.full((3,), 1.0 - step / 5)) / 5
    torch.testing.assert_close(cached, actions, atol=1e-5, rtol=1e-4)


@CONFIGS
def test_what_is_remembered_does_not_depend_on_actions(config):
    """The state's keys are remembered with the prefix's, though the state is a token of the action expert."""
    model, observation = make_model(config), make_observation(config)
    with torch.no_grad():
        memory = model.remember(observation, horizon=4)
        for seed, time in ((1, 0.9), (2, 0.1)):
            actions, time_B = make_actions(config, seed=seed), torch.full((3,), time)
            expected = model(observation, actions, time_B)
            torch.testing.assert_close(model.recall(memory, actions, time_B), expected, atol=1e-5, rtol=1e-4)
    num_prefix = 2 * config.image_encoder.num_tokens + 5
    assert all(found.keys.shape[2] == num_prefix + 1 for found in memory.key_values)


def test_sampling_keeps_padded_dimensions_zero_and_deaf_to_noise():
    model, observation, noise = make_model(STEM), make_observation(STEM), make_actions(STEM)
    mask = torch.arange(STEM.action_width) < torch.tensor([[6], [2], [4]])
    louder = torch.where(mask[:, None, :], noise, noise * 9.0)
    actions = model.sample(observation, noise, action_mask=mask)
    assert not actions[~mask[:, None, :].expand_as(actions)].any()
    assert torch.equal(actions, model.sample(observation, louder, action_mask=mask))


def test_same_seed_gives_the_same_model_and_actions():
    first, second = (make_model(STEM, seed=5) for _ in range(2))
    observation, noise = make_observation(STEM), make_actions(STEM)
    assert torch.equal(first.sample(observation, noise), second.sample(observation, noise))


def test_initial_weights_depend_on_seed_and_name_alone():
    torch.manual_seed(1)
    one, deeper = Pi0(STEM), Pi0(replace(STEM, depth=STEM.depth + 1))
    initialize(one, seed=3)
    initialize(deeper, seed=3)
    expected = deeper.state_dict()
    assert all(torch.equal(weight, expected[name]) for name, weight in one.named_parameters())
    initialize(one, seed=4)
    assert not torch.equal(one.embed_tokens.weight, deeper.embed_tokens.weight)


def test_initial_activations_have_unit_scale():
    model = Pi0(tiny_cpu())
    initialize(model, seed=0)
    prefix, _ = model.embed_prefix(make_observation(tiny_cpu(), batch=8))
    assert 0.3 < prefix.std() < 1.5


def test_layers_compile_without_graph_breaks():
    model, observation = make_model(VIT), make_observation(VIT)
    expected = _velocity(model, observation)
    for layer in model.layers:
        layer.compile(backend="eager", fullgraph=True)
    torch.testing.assert_close(_velocity(model, observation), expected)


def test_a_step_of_sampling_compiles_to_one_graph():
    model, observation, actions = make_model(VIT), make_observation(VIT), make_actions(VIT)
    with torch.no_grad():
        memory = model.remember(observation, horizon=4)
        expected = model.recall(memory, actions, TIME)
        recall = torch.compile(model.recall, backend="eager", fullgraph=True)
        torch.testing.assert_close(recall(memory, actions, TIME), expected)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler, and there is no g++")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, as it imports inductor
def test_sampling_with_its_step_compiled_gives_the_same_actions(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    one_layer = replace(VIT, depth=1)
    model, observation, noise = make_model(one_layer), make_observation(one_layer), make_actions(one_layer)
    expected = model.sample(observation, noise)
    model.recall = torch.compile(model.recall, fullgraph=True)
    torch.testing.assert_close(model.sample(observation, noise), expected, atol=1e-5, rtol=0.0)


@CONFIGS
def test_computing_in_bfloat16_stays_close(config):
    model, observation = make_model(config), make_observation(config)
    expected = _velocity(model, observation)
    halved = _velocity(model.to(torch.bfloat16), observation)
    assert halved.dtype == torch.bfloat16
    assert (halved.float() - expected).square().mean() < 0.01 * expected.square().mean()


def test_autocast_stays_close():
    model, observation = make_model(STEM), make_observation(STEM)
    expected = _velocity(model, observation)
    with torch.autocast("cpu", torch.bfloat16):
        halved = _velocity(model, observation)
    assert (halved.float() - expected).square().mean() < 0.01 * expected.square().mean()


def test_norm_computes_in_float32():
    x = torch.tensor([[300.0, 400.0]], dtype=torch.float16)  # its square overflows
    torch.testing.assert_close(RMSNorm(2, 1e-6)(x).float(), torch.tensor([[0.8485, 1.1314]]), atol=1e-3, rtol=1e-3)


def test_pictures_of_the_wrong_size_are_refused():
    with pytest.raises(ValueError, match="side 28, but the encoder takes 32"):
        _velocity(make_model(STEM), make_observation(VIT))


def test_observation_lists_all_that_is_wrong_with_it():
    good = make_observation(STEM)
    with pytest.raises(ValueError, match=r"expected \(3, 2, S, S, 3\).*expected floats.*expected bool"):
        replace(good, images=good.images.movedim(-1, 2).byte(), token_mask=good.token_mask.long())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"state": torch.tensor([[0.0], [torch.nan], [torch.inf]]).expand(3, 6)},
            r"state of samples \[1, 2\] has numbers",
        ),
        ({"images": torch.full((3, 2, 32, 32, 3), torch.nan)}, r"pictures of samples \[0, 1, 2\] have numbers"),
        (
            {"image_mask": torch.tensor([[False, False], [True, False], [False, False]])},
            r"samples \[0, 2\] has no camera",
        ),
    ],
)
def test_no_actions_follow_from_numbers_that_are_none_or_from_no_camera(change, message):
    observation = replace(make_observation(STEM), **change)
    with pytest.raises(ValueError, match=message):
        make_model(STEM).sample(observation, make_actions(STEM))


def test_pictures_of_bytes_become_minus_one_to_one():
    normalized = normalize_images(torch.tensor([0, 255, 51], dtype=torch.uint8))
    torch.testing.assert_close(normalized, torch.tensor([-1.0, 1.0, -0.6]))
    with pytest.raises(ValueError, match="normalized already"):
        normalize_images(normalized)


@pytest.mark.parametrize("change", [{"head_dim": 7}, {"num_kv_heads": 3}])
def test_impossible_sizes_are_refused(change):
    with pytest.raises(ValueError, match=f"{next(iter(change))} {next(iter(change.values()))}"):
        replace(STEM, **change)


def test_stem_refuses_pictures_it_cannot_divide():
    with pytest.raises(ValueError, match="image_size 40"):
        StemConfig(image_size=40)
