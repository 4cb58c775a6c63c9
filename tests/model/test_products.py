"""Linear layers and attention in bfloat16, with and without units for it."""

import pytest
import torch
from torch import nn

from model import products
from model.products import Linear, attention


@pytest.fixture(params=[True, False], ids=["without units", "with units"], autouse=True)
def units(request, monkeypatch):
    monkeypatch.setattr(products, "IS_SLOW", request.param)


def _gradients(result, *inputs):
    return torch.autograd.grad(result.float().square().sum(), inputs)


@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer_in_bfloat16_is_the_product_rounded_once(bias):
    layer = Linear(64, 32, bias=bias).to(torch.bfloat16)
    x = torch.randn(2, 5, 64).to(torch.bfloat16)
    exact = nn.functional.linear(x.double(), layer.weight.double(), layer.bias.double() if bias else None)
    assert layer(x).dtype == torch.bfloat16
    torch.testing.assert_close(layer(x).double(), exact, rtol=2**-7, atol=2**-8)


def test_its_gradients_are_bfloat16_and_those_of_float32():
    layer, x = Linear(64, 32), torch.randn(5, 64, requires_grad=True)
    expected = _gradients(layer(x), x, layer.weight, layer.bias)
    halved, x = layer.to(torch.bfloat16), x.detach().to(torch.bfloat16).requires_grad_()
    found = _gradients(halved(x), x, halved.weight, halved.bias)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.bfloat16
        assert (one.float() - other).norm() < 0.01 * other.norm()


@pytest.mark.parametrize("masked", [True, False])
def test_attention_in_bfloat16_is_near_that_in_float32(masked):
    parts = [torch.randn(2, 4, 6, 16) for _ in range(3)]
    mask = torch.zeros(2, 1, 6, 6).masked_fill(torch.ones(6, 6).triu(1).bool(), -torch.inf) if masked else None
    halved = [part.to(torch.bfloat16) for part in parts]
    found = attention(*halved, mask=None if mask is None else mask.to(torch.bfloat16))
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), attention(*parts, mask=mask), rtol=0.05, atol=0.05)


def test_float32_is_left_to_torch():
    layer, plain = Linear(8, 4), nn.Linear(8, 4)
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(3, 8)
    assert torch.equal(layer(x), plain(x))
