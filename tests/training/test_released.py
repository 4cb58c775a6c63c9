"""Weights under openpi's names, openpi's statistics and a codec make a policy that does what openpi does, by hand."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from model.config import Pi0Config, tiny
from model.initialize import initialize
from model.observation import Observation, normalize_images
from model.pi0 import Pi0
from model.tokenizer import WordTokenizer
from model.weight_files import TensorFiles
from model.weights import export_lerobot, export_openpi, new_pi0
from schema.embodiment import load_embodiment
from schema.errors import ConfigError
from training.policy import Policy
from training.randomness import SAMPLING, normal
from training.released import read_stats, released_policy
from training.released_codecs import OPENPI_ALOHA, RELEASED, decode, encode, released_codec, width
from training.robot_observation import Reading, RobotObservation

TOKENIZER = WordTokenizer(max_tokens=48, vocab_size=1024)
STATE_S = np.array([0.1, -0.5, 0.4, 0.2, 0.3, -0.1, 0.25] * 2, np.float32)


@pytest.fixture(scope="module")
def config() -> Pi0Config:
    """Every part of π0 at its smallest, but for room for our words."""
    return replace(tiny(), vocab_size=TOKENIZER.vocab_size, max_prompt_tokens=TOKENIZER.max_tokens)


@pytest.fixture(scope="module")
def weights(config: Pi0Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of random weights as openpi saves them."""
    model = Pi0(config)
    initialize(model, seed=3)
    file = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in export_openpi(model).items()}, file)
    return file


def numbers(codec: str, *, seed: int = 0) -> dict[str, dict[str, list[float]]]:
    """Statistics of a family's dimensions, and of padding, as openpi's files of padded models have them."""
    random = np.random.default_rng(seed)
    family = released_codec(codec)
    return {
        role: {
            "mean": random.normal(0, 0.2, width(pieces) + 2).tolist(),
            "std": random.uniform(0.5, 1.5, width(pieces) + 2).tolist(),
            "q01": [-1.0] * (width(pieces) + 2),
            "q99": [1.0] * (width(pieces) + 2),
        }
        for role, pieces in (("state", family.state), ("actions", family.action))
    }


def write(path: Path, found: object) -> Path:
    path.write_text(json.dumps({"norm_stats": found}))
    return path


@pytest.fixture(scope="module")
def make(config: Pi0Config, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Policy]:
    """Makes the policy of a family."""

    def policy_of(codec: str) -> Policy:
        stats = write(tmp_path_factory.mktemp("stats") / "norm_stats.json", numbers(codec))
        return released_policy(new_pi0(config, TensorFiles(weights)), stats, codec=codec, tokenizer=TOKENIZER)

    return policy_of


def observation_of(codec: str) -> RobotObservation:
    """A sound observation of a family's robot: everything at 0.2, grippers too, the tool not turned."""
    family = released_codec(codec)
    table = load_embodiment(family.embodiment)
    random = np.random.default_rng(1)
    state = {}
    for name in table.action_space(family.action_space).state:
        signal = table.signal(name)
        values = [0.0, 0.0, 0.0, 1.0] if signal.rotation else [0.2] * signal.width
        state[name] = Reading(values=values, unit=signal.units)
    return RobotObservation(
        embodiment=family.embodiment,
        instruction="pick_up the red block",
        state=state,
        pictures={camera: random.integers(0, 255, (56, 56, 3)).astype(np.uint8) for camera in family.cameras.values()},
    )


def aloha_of(state_S: np.ndarray) -> RobotObservation:
    observation = observation_of("openpi_aloha")
    firsts = np.cumsum([0, 6, 1, 6])
    parts = zip(observation.state.items(), firsts.tolist(), strict=True)
    return replace(
        observation,
        state={
            name: replace(reading, values=state_S[first : first + len(np.asarray(reading.values))])
            for (name, reading), first in parts
        },
    )


@pytest.mark.parametrize("codec", RELEASED)
def test_a_family_acts_in_its_robots_names_units_and_rate(make, codec):
    family = released_codec(codec)
    table = load_embodiment(family.embodiment)

    chunks = make(codec).act(observation_of(codec), seed=0)

    assert tuple(chunks) == table.action_space(family.action_space).action
    for name, chunk in chunks.items():
        signal = table.signal(name)
        assert chunk.values.shape == (family.chunk_steps, signal.width)
        assert (chunk.units, chunk.mode, chunk.rate_hz) == (signal.units, signal.mode, table.rate_hz)
        assert np.isfinite(chunk.values).all()


def test_aloha_acts_as_openpi_does_step_by_step(config, weights, make):
    policy, stats = make("openpi_aloha"), numbers("openpi_aloha")
    observation = aloha_of(STATE_S)
    flips = np.array([1, -1, -1, 1, 1, 1, 1] * 2)
    theirs = STATE_S * flips
    theirs[[6, 13]] = encode(OPENPI_ALOHA.state, STATE_S)[[6, 13]]
    mean, std = (np.array(stats["state"][what][:14]) for what in ("mean", "std"))
    state = np.pad((theirs - mean) / (std + 1e-6), (0, 18)).astype(np.float32)
    prompts = TOKENIZER([observation.instruction])
    pictures = np.stack([observation.pictures[name] for name in ("base", "left_wrist", "right_wrist")])
    seen = Observation(
        images=normalize_images(torch.from_numpy(pictures)[None]),
        image_mask=torch.ones(1, 3, dtype=torch.bool),
        tokens=prompts.tokens_BL,
        token_mask=prompts.mask_BL,
        state=torch.from_numpy(state)[None],
    )
    noise = normal(4, np.zeros(1, np.int64), purpose=SAMPLING, shape=(50, 32))
    sampled = new_pi0(config, TensorFiles(weights)).sample(seen, torch.from_numpy(noise))[0, :, :14].numpy()
    mean, std = (np.array(stats["actions"][what][:14]) for what in ("mean", "std"))
    actions = sampled * (std + 1e-6) + mean
    joints = [place for place in range(14) if place not in {6, 13}]
    actions[:, joints] += theirs[joints]
    expected = actions * flips
    for place in (6, 13):
        open_fraction = (actions[:, place] + 0.5476 + 0.6213) / (1.4910 + 0.6213)
        expected[:, place] = 1.0 - open_fraction

    chunks = policy.act(observation, seed=4)

    found = np.concatenate([chunk.values for chunk in chunks.values()], axis=1)
    np.testing.assert_allclose(found, expected, atol=2e-4)
    assert np.abs(found).max() > 0.1


def test_padded_dimensions_carry_noise_as_in_the_training_of_released_weights(make):
    policy = make("openpi_droid")
    masks: list[object] = []
    sample = policy.model.sample
    policy.model.sample = lambda *given, **words: masks.append(words["action_mask"]) or sample(*given, **words)

    policy.act(observation_of("openpi_droid"), seed=0)

    assert masks == [None]


def test_a_slot_that_the_family_leaves_empty_is_masked(make):
    policy = make("openpi_libero")
    observation = observation_of("openpi_libero")

    seen = policy.observe([observation], [observation.stacked(policy.robots["panda_sim"].state_signals)])

    assert [slot.cameras for slot in policy.spec.robots[0].slots] == [("base",), ("left_wrist",), ()]
    assert seen.image_mask.sum() == 2


def test_droids_gripper_is_open_or_closed(make):
    chunks = make("openpi_droid").act(observation_of("openpi_droid"), seed=0)

    assert set(np.unique(chunks["action.gripper"].values)) <= {0.0, 1.0}
    assert np.abs(chunks["action.joint_velocity"].values).max() <= 3.0


@pytest.mark.parametrize("codec", RELEASED)
def test_decoding_is_the_inverse_of_what_training_would_encode(make, codec):
    policy = make(codec)
    (robot,) = policy.robots.values()
    random = np.random.default_rng(0)
    dimensions = robot.action_dimensions
    action_BHA = random.uniform(0, 1, (3, 5, len(dimensions))).astype(np.float32)
    state_BS = random.uniform(0, 1, (3, len(robot.state_dimensions))).astype(np.float32)

    found = robot.decode_actions(robot.encode_actions(action_BHA, state_BS), state_BS)

    np.testing.assert_allclose(found, action_BHA, atol=1e-5)


def test_deltas_are_told_from_the_released_state(make):
    (robot,) = make("openpi_aloha").robots.values()
    chunk = STATE_S[None, None]

    normalized = robot.encode_actions(chunk, STATE_S[None])

    stats = numbers("openpi_aloha")["actions"]
    still = -np.array(stats["mean"][:14]) / (np.array(stats["std"][:14]) + 1e-6)
    joints = [place for place in range(14) if place not in {6, 13}]
    np.testing.assert_allclose(normalized[0, 0, joints], still[joints], atol=1e-6)
    assert not normalized[0, 0, 14:].any()
    np.testing.assert_allclose(decode(OPENPI_ALOHA.state, encode(OPENPI_ALOHA.state, STATE_S)), STATE_S, atol=1e-6)


def test_statistics_of_lerobot_are_read_from_its_processors(tmp_path, config):
    model = Pi0(config)
    initialize(model, seed=3)
    save_file(
        {name: tensor.contiguous() for name, tensor in export_lerobot(model).items()}, tmp_path / "model.safetensors"
    )
    tensors = {
        f"{name}.{what}": torch.tensor(numbers("openpi_libero")[role][what][:size])
        for role, name, size in (("state", "observation.state", 8), ("actions", "action", 7))
        for what in ("mean", "std")
    }
    save_file(tensors, tmp_path / "policy_preprocessor_step_5_normalizer_processor.safetensors")

    policy = released_policy(
        new_pi0(config, TensorFiles(tmp_path / "model.safetensors")),
        tmp_path,
        codec="openpi_libero",
        tokenizer=TOKENIZER,
    )

    (robot,) = policy.robots.values()
    np.testing.assert_allclose(robot.spec.state.mean, tensors["observation.state.mean"], rtol=1e-6)
    np.testing.assert_allclose(robot.spec.action.std, tensors["action.std"].double() + 1e-8, rtol=1e-6)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"state": {"mean": [0.0] * 14, "std": [1.0] * 14}}, "action has 0 means and 0 standard deviations"),
        ({"state": {"mean": [0.0] * 8, "std": [1.0] * 8}}, "state has 8 means and 8 standard deviations"),
        ({"state": {"mean": [float("nan")] * 14, "std": [1.0] * 14}}, "expected finite numbers"),
        ({"state": {"mean": [0.0] * 14, "std": [-1.0] * 14}}, "none below 0"),
        ([], "holds no `norm_stats`"),
    ],
)
def test_statistics_that_do_not_fit_the_family_are_refused(tmp_path, found, expected):
    path = write(tmp_path / "norm_stats.json", found)

    with pytest.raises(ConfigError) as caught:
        read_stats(path, OPENPI_ALOHA)

    assert expected in str(caught.value)


def test_statistics_that_are_not_there_are_told(tmp_path):
    with pytest.raises(ConfigError, match="no statistics there"):
        read_stats(tmp_path / "norm_stats.json", OPENPI_ALOHA)
    with pytest.raises(ConfigError, match="found 0 files policy_preprocessor"):
        read_stats(tmp_path, OPENPI_ALOHA)


def test_a_robot_of_another_family_is_refused_by_name(make):
    with pytest.raises(ConfigError, match="embodiment 'franka_droid' was not trained on, expected one of bimanual_tr"):
        make("openpi_aloha").act(observation_of("openpi_droid"), seed=0)
