"""Released weights are loaded whole, by their own names, or not at all, and come out as they went in."""

import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from model.config import ExpertConfig
from model.pi0 import Pi0
from model.weight_misfits import WeightsError
from model.weight_names import EMBEDDING, PALIGEMMA, TIED_HEAD, openpi_names, unused_shapes
from model.weights import export_lerobot, export_openpi, load_paligemma, load_pi0, new_pi0
from tests.model.sizes import VIT, make_model


@pytest.fixture
def source():
    return make_model(VIT, seed=3)


@pytest.fixture
def released(source):
    """The source's weights under openpi's names, with what its files hold besides."""
    ours = dict(source.named_parameters())
    tensors = {theirs: ours[name].detach().clone() for name, theirs in openpi_names(VIT).items()}
    unused = {name: torch.zeros(shape) for name, shape in unused_shapes(VIT).items() if name != TIED_HEAD}
    return {**tensors, **unused}


@pytest.fixture
def paligemma(released):
    """The part of them that PaliGemma has, as it is on the hub."""
    renamed = {}
    for name, tensor in released.items():
        if name.startswith(PALIGEMMA):
            short = name.removeprefix(PALIGEMMA + "model.")
            renamed[short.replace("language_model.", "language_model.model.")] = tensor
    return renamed


def _is_equal(model, source, *, where=lambda name: True):
    expected = dict(source.named_parameters())
    return all(torch.equal(weight, expected[name]) for name, weight in model.named_parameters() if where(name))


@pytest.mark.parametrize("prefix", ["", "model."])
def test_openpi_and_lerobot_files_load(source, released, prefix):
    model = Pi0(VIT)
    ignored = load_pi0(model, {prefix + name: tensor for name, tensor in released.items()})
    assert _is_equal(model, source)
    assert set(ignored) == {prefix + name for name in unused_shapes(VIT).keys() - {TIED_HEAD}}


def test_the_tied_head_stands_in_for_a_missing_embedding(source, released):
    released[TIED_HEAD] = released.pop(EMBEDDING)
    model = Pi0(VIT)
    load_pi0(model, released)
    assert _is_equal(model, source)


def test_a_stale_head_does_not_replace_the_embedding(source, released):
    released[TIED_HEAD] = torch.full_like(released[EMBEDDING], 9.0)
    model = Pi0(VIT)
    assert TIED_HEAD in load_pi0(model, released)
    assert _is_equal(model, source)


@pytest.mark.parametrize("export", [export_openpi, export_lerobot])
def test_what_is_written_loads_again(source, export, tmp_path):
    model = Pi0(VIT)
    save_file(export(source), tmp_path / "model.safetensors")  # would refuse tensors that share memory
    load_pi0(model, export(source))
    assert _is_equal(model, source)


def test_each_peer_finds_its_form_of_the_tied_pair(source):
    openpi, lerobot = export_openpi(source), export_lerobot(source)
    assert TIED_HEAD in openpi
    assert EMBEDDING not in openpi
    assert torch.equal(lerobot["model." + TIED_HEAD], lerobot["model." + EMBEDDING])


def test_paligemma_fills_all_but_the_action_expert(source, paligemma):
    model, before = make_model(VIT, seed=4), make_model(VIT, seed=4)
    load_paligemma(model, paligemma)
    theirs = openpi_names(VIT)
    assert _is_equal(model, source, where=lambda name: theirs[name].startswith(PALIGEMMA))
    assert _is_equal(model, before, where=lambda name: not theirs[name].startswith(PALIGEMMA))


def test_rows_beyond_the_vocabulary_are_cut_off_and_listed(source, paligemma):
    table = "language_model.model.embed_tokens.weight"
    paligemma[table] = torch.cat([paligemma[table], torch.ones(64, VIT.vlm.width)])
    model = Pi0(VIT)
    assert f"{table}[40:]" in load_paligemma(model, paligemma)
    assert torch.equal(model.embed_tokens.weight, source.embed_tokens.weight)
    paligemma[table] = torch.cat([paligemma[table], torch.ones(1, VIT.vlm.width)])
    with pytest.raises(WeightsError, match=r"vocab_size is 105 by the shapes of the weights, 40 by the config"):
        load_paligemma(model, paligemma)


def test_a_whole_pi0_is_no_paligemma(released):
    with pytest.raises(WeightsError, match=r"unexpected: state_proj\.bias"):
        load_paligemma(Pi0(VIT), released)


def test_every_misfit_is_in_one_error_and_nothing_is_copied(released):
    model, untouched = make_model(VIT, seed=4), make_model(VIT, seed=4)
    del released["state_proj.bias"]
    released["state_proj.scale"] = torch.zeros(2)
    released["action_in_proj.weight"] = torch.zeros(3, 5)
    with pytest.raises(WeightsError) as error:
        load_pi0(model, released)
    assert "missing: state_proj.bias [16]" in str(error.value)
    assert "unexpected: state_proj.scale [2]" in str(error.value)
    assert "mis-shaped: action_in_proj.weight is [3, 5], expected [16, 6]" in str(error.value)
    assert _is_equal(model, untouched)


def test_a_transposed_weight_is_called_so(released):
    released["action_in_proj.weight"] = released["action_in_proj.weight"].T
    with pytest.raises(WeightsError, match=r"action_in_proj.weight is \[6, 16\], expected \[16, 6\]: it is transposed"):
        load_pi0(Pi0(VIT), released)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"depth": 3}, "depth is 2 by the shapes of the weights, 3 by the config"),
        ({"action_width": 18}, "action_width is 6 by the shapes of the weights, 18 by the config"),
        ({"num_heads": 8}, "num_heads * head_dim is 32 by the shapes of the weights, 64 by the config"),
        ({"vlm": ExpertConfig(width=24, mlp_width=64)}, "vlm.mlp_width is 32 by the shapes of the weights, 64 by"),
    ],
)
def test_a_config_that_disagrees_with_the_file_is_told_first(released, change, line):
    with pytest.raises(WeightsError) as error:
        load_pi0(Pi0(replace(VIT, **change)), released)
    assert line in str(error.value).splitlines()[1]


def test_two_names_of_one_weight_are_refused(released):
    released["model.state_proj.bias"] = released["state_proj.bias"]
    with pytest.raises(WeightsError, match=r"state_proj.bias and model.state_proj.bias are both state_proj.bias"):
        load_pi0(Pi0(VIT), released)


def test_a_model_without_memory_is_refused(released):
    with torch.device("meta"):
        model = Pi0(VIT)
    with pytest.raises(ValueError, match="build it with new_pi0"):
        load_pi0(model, released)


def test_a_new_model_has_the_files_weights_in_the_type_asked_for(source, released):
    assert _is_equal(new_pi0(VIT, released), source)
    halved = new_pi0(VIT, released, dtype=torch.bfloat16)
    assert torch.equal(halved.state_proj.weight, source.state_proj.weight.bfloat16())


ROOT = Path(__file__).parents[2]
MEASURE = """
    import resource, sys
    from pathlib import Path
    import torch
    from model.config import ExpertConfig, Pi0Config, VisionConfig
    from model.pi0 import Pi0
    from model.weight_files import TensorFiles
    from model.weights import new_pi0

    config = Pi0Config(
        image_encoder=VisionConfig(image_size=28, width=64, depth=1, mlp_width=64, num_heads=1),
        vlm=ExpertConfig(width=512, mlp_width=2048), action_expert=ExpertConfig(width=256, mlp_width=1024),
        depth=6, num_heads=8, head_dim=64, vocab_size=4096,
    )
    folder = Path(sys.argv[2])

    def peak():
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

    if sys.argv[1] == "write":
        from safetensors.torch import save_file
        from model.weights import export_lerobot
        import json
        model = Pi0(config)
        tensors = list(export_lerobot(model).items())
        shards = {f"model-{n}.safetensors": dict(tensors[n::3]) for n in range(3)}
        for name, shard in shards.items():
            save_file(shard, folder / name)
        index = {"weight_map": {key: name for name, shard in shards.items() for key in shard}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    else:
        with torch.device("meta"):  # which loads much of torch at first use
            Pi0(config)
        before = peak()
        model = new_pi0(config, TensorFiles(folder))
        size = sum(4 * weight.numel() for weight in model.parameters())
        assert torch.isfinite(model.layers[3].vlm.q_proj.weight).all()
        print(size, peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_a_sharded_checkpoint_takes_little_more_memory_than_the_model(tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(MEASURE)]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, "write", str(tmp_path)], check=True, cwd=ROOT, env=one_thread)
    measured = subprocess.run(
        [*command, "read", str(tmp_path)], check=True, cwd=ROOT, env=one_thread, capture_output=True, text=True
    )
    size, grown = (int(number) for number in measured.stdout.split())
    assert size > 100e6
    assert grown < 1.2 * size
