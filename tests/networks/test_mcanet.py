"""The network: sizes, shapes, options, precision, and the ways to export it."""

from typing import Any

import pytest
import torch
from mcanet.scripts.networks import MCANet
from mcanet.scripts.networks.norm import ChannelLayerNorm


@pytest.fixture(scope="module")
def network() -> MCANet:
    torch.manual_seed(0)
    return MCANet(in_channels=3, out_channels=2).eval()


@pytest.mark.parametrize(
    "changed",
    [
        {"in_channels": 4}, {"out_channels": 2}, {"variant": "small"}, {"num_heads": 4}, {"norm_bias": False},
        {"decoder_size": 16}, {"drop_path": 0.5}, {"dropout": 0.2},
    ],
)  # fmt: skip
def test_every_argument_shows(changed: dict[str, Any]) -> None:
    assert repr(MCANet(**changed)) != repr(MCANet())


@pytest.mark.parametrize(("variant", "millions"), [("tiny", 4.05), ("small", 14.00), ("base", 26.83)])
def test_sizes_are_those_of_the_paper(variant: str, millions: float) -> None:
    parameters = sum(p.numel() for p in MCANet(variant=variant).parameters())
    assert parameters / 1e6 == pytest.approx(millions, abs=0.006)


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (65, 32), (97, 160)])
def test_logits_have_the_size_of_the_input(network: MCANet, size: tuple[int, int]) -> None:
    with torch.no_grad():
        assert network(torch.randn(2, 3, *size)).shape == (2, 2, *size)


def test_gradients_reach_every_parameter() -> None:
    torch.manual_seed(0)
    network = MCANet(out_channels=3, drop_path=0.0, dropout=0.0)
    network(torch.randn(2, 3, 64, 96)).square().mean().backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert without == []


@pytest.mark.parametrize("heads", [1, 4, 16])
def test_number_of_heads_changes_the_answer_and_not_the_weights(network: MCANet, heads: int) -> None:
    other = MCANet(out_channels=2, num_heads=heads).eval()
    other.load_state_dict(network.state_dict())
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert not torch.allclose(other(image), network(image), atol=1e-6)


@pytest.mark.parametrize("size", [24, (24, 40)])
def test_decoder_works_at_the_size_asked_for(size: int | tuple[int, int]) -> None:
    network = MCANet(decoder_size=size).eval()
    with torch.no_grad():
        logits = network.forward_features(torch.randn(1, 3, 64, 64))
        assert logits.shape[-2:] == ((24, 24) if size == 24 else size)
        assert network(torch.randn(1, 3, 65, 63)).shape == (1, 1, 65, 63)


def test_layer_norm_kinds_follow_their_definitions() -> None:
    x = torch.randn(2, 8, 3, 5, dtype=torch.float64)
    variance, mean = torch.var_mean(x, 1, unbiased=False, keepdim=True)
    with_bias, without = ChannelLayerNorm(8).double(), ChannelLayerNorm(8, bias=False).double()
    torch.testing.assert_close(with_bias(x), (x - mean) / (variance + 1e-5).sqrt())
    torch.testing.assert_close(without(x), x / (variance + 1e-5).sqrt())
    assert [name for name, _ in without.named_parameters()] == ["weight"]
    assert MCANet(norm_bias=False)(torch.randn(2, 3, 32, 32)).isfinite().all()


def test_stochastic_depth_and_dropout_act_in_training_only() -> None:
    torch.manual_seed(0)
    network = MCANet(drop_path=0.5, dropout=0.5)
    image = torch.randn(2, 3, 64, 64)
    network.eval()
    with torch.no_grad():
        assert torch.equal(network(image), network(image))
        for module in network.modules():
            if isinstance(module, torch.nn.Dropout2d) or type(module).__name__ == "DropPath":
                module.train()
        assert not torch.equal(network(image), network(image))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_survives_a_constant_region(network: MCANet, dtype: torch.dtype) -> None:
    image = torch.randn(1, 3, 96, 96)
    image[..., :48] = 0
    half = MCANet(out_channels=2).eval()
    half.load_state_dict(network.state_dict())
    half = half.to(dtype)
    with torch.no_grad():
        assert half(image.to(dtype)).isfinite().all()
        assert half(torch.zeros_like(image).to(dtype)).isfinite().all()


@pytest.mark.parametrize("way", ["script", "trace", "export"])
def test_exports_answer_as_the_network_does(network: MCANet, way: str) -> None:
    example, image = torch.randn(2, 3, 64, 64), torch.randn(1, 3, 45, 70)
    if way == "script":
        exported = torch.jit.script(network)
    elif way == "trace":
        exported, image = torch.jit.trace(network, example), torch.randn_like(example)
    else:
        auto = torch.export.Dim.AUTO
        exported = torch.export.export(
            network, (example,), dynamic_shapes=({0: auto, 2: auto, 3: auto},)
        ).module()
    with torch.no_grad():
        torch.testing.assert_close(exported(image), network(image), atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_compiled_network_answers_as_the_network_does(network: MCANet) -> None:
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(network)(image), network(image), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variant": "huge"}, r"variant must be one of \['base', 'small', 'tiny'\], got 'huge'"),
        ({"spatial_dims": 3}, "spatial_dims must be 2 .* got 3"),
        (
            {"num_heads": 7},
            r"num_heads must divide the 64 channels \(one of \[1, 2, 4, 8, 16, 32, 64\]\), got 7",
        ),
        ({"num_heads": 0}, "num_heads must divide"),
        ({"in_channels": 0}, "in_channels must be at least 1, got 0"),
        ({"out_channels": -1}, "out_channels must be at least 1, got -1"),
        ({"dropout": 1.5}, "dropout must be at least 0 and below 1, got 1.5"),
        ({"decoder_size": (8, 0)}, r"decoder_size must be None, a positive number or \(H, W\), got \(8, 0\)"),
    ],
)
def test_wrong_arguments_say_what_is_allowed(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MCANet(**arguments)


def test_gradients_add_up_over_steps_that_zero_them_in_place() -> None:
    torch.manual_seed(0)
    network = MCANet(dropout=0.0, drop_path=0.0).eval()
    x = torch.rand(1, 3, 64, 64)
    gradients = []
    for _ in range(2):
        network.zero_grad(set_to_none=False)
        network(x).square().mean().backward()
        gradients.append([weight.grad.clone() for weight in network.parameters()])
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second)
