"""The fused network is the same function."""

import pytest
import torch
from mcanet.scripts import BUNDLE_ROOT
from mcanet.scripts.networks import VARIANTS, MCANet, fuse, load_weights

from ..conftest import ROOT


def lively(network: MCANet) -> MCANet:
    """The network with norms and scales that are neither 0 nor 1, as after training."""
    torch.manual_seed(0)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and tensor.ndim == 1:
            tensor.copy_(torch.rand_like(tensor) * (0.1 if "scale" in name else 1) + ("var" in name))
    return network.eval()


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_equal_with_the_shipped_weights(memory_format: torch.memory_format) -> None:
    network = load_weights(MCANet(3, 3), BUNDLE_ROOT / "models" / "model.pt").eval()
    torch.manual_seed(0)
    blurred = torch.nn.functional.interpolate(torch.randn(2, 3, 24, 24), (96, 96), mode="bicubic")
    with torch.no_grad():
        expected = network(blurred)
        given = blurred.to(memory_format=memory_format)
        assert (fuse(network).to(memory_format=memory_format)(given) - expected).abs().max() < 1e-4


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", [(64, 64), (75, 41)])
def test_exact_in_double_precision_for_any_weights(variant: str, size: tuple[int, int]) -> None:
    network = lively(MCANet(1, 4, variant)).double()
    x = torch.randn(2, 1, *size, dtype=torch.float64)
    with torch.no_grad():
        expected = network(x)
        assert (fuse(network)(x) - expected).abs().max() < 1e-10 * expected.abs().max()


def test_other_options_and_a_constant_picture() -> None:
    network = lively(MCANet(2, 1, num_heads=4, norm_bias=False, decoder_size=20))
    x = torch.zeros(1, 2, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(fuse(network)(x), network(x), rtol=1e-4, atol=1e-4)


def test_the_network_itself_is_left_alone_and_the_fused_has_no_batch_norm() -> None:
    network = lively(MCANet(3, 2))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fused = fuse(network)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert not [module for module in fused.modules() if isinstance(module, torch.nn.BatchNorm2d)]


def test_a_network_in_training_is_refused() -> None:
    with pytest.raises(ValueError, match="evaluation mode"):
        fuse(MCANet(3, 2).train())
    fused = fuse(MCANet(3, 2).eval())
    assert not any(weight.requires_grad for weight in fused.parameters())
    with pytest.raises(ValueError, match="fused already"):
        fuse(fused)


@pytest.mark.parametrize("norm_bias", [True, False])
def test_what_benchmarks_call_straight_is_the_same_function(
    norm_bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from straight import StraightMCANet

    network = lively(MCANet(3, 3, norm_bias=norm_bias))
    with torch.no_grad():
        picture = torch.randn(2, 3, 64, 96)
        straight = StraightMCANet(network).eval()
        torch.testing.assert_close(straight(picture), network(picture), rtol=0, atol=1e-3)
