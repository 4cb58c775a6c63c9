"""Folders as orbax writes them: its two layouts, and what is wrong with damaged ones."""

import sys

import numpy as np
import pytest
import torch

from model.jax_weights import load_jax
from model.orbax import OrbaxArrays
from model.pi0 import Pi0
from model.weight_misfits import WeightsError
from tests.model.sizes import VIT, make_model
from tests.model.test_jax_weights import to_jax

try:
    import tensorstore
except ModuleNotFoundError:
    tensorstore = None

needs_tensorstore = pytest.mark.skipif(tensorstore is None, reason="tensorstore is not installed (robomix[orbax])")
LAYOUTS = pytest.mark.parametrize("layout", ["database", "folders"])
FORMS = pytest.mark.parametrize("form", ["params.{}", "params.{}.value"], ids=["released", "saved in training"])


def write(folder, arrays, *, layout="database", driver="zarr", form="params.{}"):
    """A checkpoint as orbax lays it out: names joined by dots, each an array of zarr."""
    folder.mkdir(parents=True)
    for path, array in arrays.items():
        name = form.format(path.replace("/", ".")) + "/"
        base = {"driver": "file", "path": f"{folder}/"}
        database = {"driver": "ocdbt", "base": base, "path": name}
        kvstore = database if layout == "database" else {**base, "path": f"{folder}/{name}"}
        spec = {"driver": driver, "kvstore": kvstore}
        stored = tensorstore.open(spec, create=True, dtype=array.dtype, shape=array.shape).result()
        stored.write(array).result()
    return folder


@needs_tensorstore
@LAYOUTS
@FORMS
def test_a_model_comes_back_from_a_checkpoint(tmp_path, layout, form):
    source, model = make_model(VIT), Pi0(VIT)
    folder = write(tmp_path / "params", to_jax(source), layout=layout, form=form)
    ignored = load_jax(model, OrbaxArrays(folder))
    expected = dict(source.named_parameters())
    assert all(torch.equal(weight, expected[name]) for name, weight in model.named_parameters())
    assert form.replace(".", "/").format("PaliGemma/llm/final_norm/scale") in ignored


@needs_tensorstore
@pytest.mark.parametrize("driver", ["zarr", "zarr3"])
def test_arrays_of_either_zarr_are_what_was_written_from_the_checkpoint_too(tmp_path, driver):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    write(tmp_path / "π 0%20" / "params", {"one/w": array, "two": array + 1}, driver=driver)
    arrays = OrbaxArrays(tmp_path / "π 0%20")
    assert sorted(arrays) == ["params/one/w", "params/two"]
    assert arrays["params/one/w"].shape == (2, 3)
    np.testing.assert_array_equal(np.asarray(arrays["params/two"]), array + 1)


@needs_tensorstore
def test_bfloat16_stays_what_it_is(tmp_path):
    source, model = make_model(VIT).to(torch.bfloat16).float(), Pi0(VIT)
    kind = tensorstore.bfloat16.numpy_dtype
    folder = write(tmp_path / "params", {path: array.astype(kind) for path, array in to_jax(source).items()})
    load_jax(model, OrbaxArrays(folder))
    assert torch.equal(model.embed_tokens.weight, source.embed_tokens.weight)


@needs_tensorstore
def test_every_misfit_is_in_one_error(tmp_path):
    arrays = to_jax(make_model(VIT))
    arrays["state_proj/scale"] = arrays.pop("state_proj/bias")
    arrays["action_in_proj/kernel"] = arrays["action_in_proj/kernel"].T
    with pytest.raises(WeightsError) as error:
        load_jax(Pi0(VIT), OrbaxArrays(write(tmp_path / "params", arrays)))
    assert "missing: state_proj/bias [16]" in str(error.value)
    assert "unexpected: state_proj/scale [16]" in str(error.value)
    assert "action_in_proj/kernel is [16, 6], expected [6, 16]: it is transposed" in str(error.value)


@needs_tensorstore
def test_folders_without_a_whole_checkpoint_are_refused(tmp_path):
    with pytest.raises(WeightsError, match="no folder"):
        OrbaxArrays(tmp_path / "nothing")
    with pytest.raises(WeightsError, match=r"no arrays of orbax in .*, expected manifest.ocdbt"):
        OrbaxArrays(tmp_path)
    manifest = write(tmp_path / "params", {"one": np.zeros(3, np.float32)}) / "manifest.ocdbt"
    manifest.write_bytes(manifest.read_bytes()[:-4])
    with pytest.raises(WeightsError, match="not a whole checkpoint of orbax"):
        OrbaxArrays(tmp_path)


@needs_tensorstore
def test_a_lost_chunk_is_zeros_only_where_the_checkpoint_leaves_zeros_out(tmp_path):
    folder = write(tmp_path / "params", {"one": np.ones(3, np.float32)}, layout="folders")
    (folder / "params.one" / "0").unlink()
    assert not np.asarray(OrbaxArrays(folder)["params/one"]).any()
    (folder / "_METADATA").write_text('{"store_array_data_equal_to_fill_value": true}')
    with pytest.raises(ValueError, match=r"params\.one/0.* is missing"):
        np.asarray(OrbaxArrays(folder)["params/one"])


def test_without_tensorstore_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorstore", None)
    with pytest.raises(ModuleNotFoundError) as error:
        OrbaxArrays(tmp_path)
    assert "pip install tensorstore" in error.value.__notes__[0]
