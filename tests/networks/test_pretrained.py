"""Published weights: equal to the reference, and never loaded by halves."""

from pathlib import Path

import pytest
import torch
from mcanet.scripts.networks import (
    MCANet,
    convert_mmseg_state_dict,
    load_pretrained,
    load_weights,
    start_from,
)

from ..damage import spoil_a_weight
from . import vectors


@pytest.mark.parametrize("vector", ["tiny_binary", "small_multiclass"])
def test_equal_to_the_reference_network(vector: str) -> None:
    spec, weights, image, expected = vectors.load(vector)
    network = MCANet(out_channels=spec["out_channels"], variant=spec["variant"]).eval()
    network.load_state_dict(convert_mmseg_state_dict(weights))
    with torch.no_grad():
        assert (network.forward_features(image) - expected).abs().max() < 1e-4


@pytest.mark.parametrize("prefix", ["", "backbone."])
@pytest.mark.parametrize("in_channels", [1, 3, 5])
def test_bare_encoder_loads_with_any_number_of_channels(prefix: str, in_channels: int) -> None:
    published = {
        prefix + name.removeprefix("backbone."): tensor
        for name, tensor in vectors.load("tiny_binary")[1].items()
        if name.startswith("backbone.")
    }
    published |= {
        "head.weight": torch.zeros(1000, 256),
        "head.bias": torch.zeros(1000),
    }  # ImageNet's classifier
    three = load_pretrained(MCANet(3), {"state_dict": published}).eval()
    other = load_pretrained(MCANet(in_channels), published).eval()
    grey = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        ours, theirs = (
            other.encoder(grey.expand(-1, in_channels, -1, -1)),
            three.encoder(grey.expand(-1, 3, -1, -1)),
        )
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_unknown_and_missing_names_are_listed() -> None:
    weights = vectors.load("tiny_binary")[1]
    with pytest.raises(KeyError, match=r"2 names.*\['decode_head\.extra\.weight', 'neck\.conv\.weight'\]"):
        convert_mmseg_state_dict(
            weights | dict.fromkeys(["neck.conv.weight", "decode_head.extra.weight"], torch.ones(1))
        )
    with pytest.raises(KeyError, match=r"missing \['decoder\.classifier\.bias'\], unknown \[\]"):
        load_pretrained(MCANet(), {k: v for k, v in weights.items() if k != "decode_head.conv_seg.bias"})
    with pytest.raises(ValueError, match=r"'decoder\.classifier\.bias': \(\(1,\), \(4,\)\)"):
        load_pretrained(MCANet(out_channels=4), weights)


def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path) -> None:
    torch.manual_seed(0)
    network, file = MCANet(out_channels=2), tmp_path / "model.pt"
    torch.save({"model": network.state_dict()}, file)
    same = load_weights(MCANet(out_channels=2), file)
    assert all(
        torch.equal(a, b)
        for a, b in zip(same.state_dict().values(), network.state_dict().values(), strict=True)
    )
    with pytest.raises(ValueError, match="do not fit the network: shape"):
        load_weights(MCANet(out_channels=5), file)
    torch.save(torch.nn.Linear(2, 2).state_dict(), file)
    with pytest.raises(KeyError, match=r"unknown \['bias', 'weight'\]"):
        load_weights(MCANet(), file)
    with pytest.raises(FileNotFoundError, match="no weights at"):
        load_weights(MCANet(), tmp_path / "absent.pt")


def test_weights_with_other_bytes_are_refused(tmp_path) -> None:
    network, file = MCANet(out_channels=2), tmp_path / "model.pt"
    torch.save({"model": network.state_dict()}, file)
    spoil_a_weight(file)
    with pytest.raises(ValueError, match=r"model.pt' is damaged \(in model/data/0\): fetch or save it again"):
        load_weights(network, file)


def test_training_starts_from_our_weights_or_published_ones(tmp_path) -> None:
    torch.manual_seed(0)
    network = MCANet(in_channels=1)
    assert start_from(network, None) is network
    torch.save(network.state_dict(), tmp_path / "ours.pt")
    again = start_from(MCANet(in_channels=1), tmp_path / "ours.pt")
    assert torch.equal(again.decoder.classifier.weight, network.decoder.classifier.weight)
    published = {k: v for k, v in vectors.load("tiny_binary")[1].items() if k.startswith("backbone.")}
    torch.save({"state_dict": published}, tmp_path / "published.pth")
    started = start_from(MCANet(in_channels=1), tmp_path / "published.pth")
    assert torch.equal(started.encoder.norms[0].weight, published["backbone.norm1.weight"])


def test_training_starts_from_another_tasks_weights_with_a_classifier_of_its_own(tmp_path, caplog) -> None:
    torch.manual_seed(0)
    other = MCANet(in_channels=1, out_channels=3)
    torch.save(other.state_dict(), tmp_path / "other.pt")
    network = start_from(MCANet(in_channels=3, out_channels=2), tmp_path / "other.pt")
    assert network.decoder.classifier.out_channels == 2
    assert torch.equal(network.encoder.norms[3].weight, other.encoder.norms[3].weight)
    assert "the weights are of 3 classes, the task has 2" in caplog.text
    image = torch.rand(1, 1, 32, 32)
    assert network.eval()(image.repeat(1, 3, 1, 1)).shape == (1, 2, 32, 32)
    inputs = ((other, image), (network, image.repeat(1, 3, 1, 1)))
    stems = [net.eval().encoder.downsamples[0](x) for net, x in inputs]
    torch.testing.assert_close(*stems)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({0: torch.ones(1)}, "holds no tensors by name"),
        ({}, "holds no tensors by name"),
        ({"model": "x"}, "holds no tensors by name"),
        ({"encoder.a": "x"}, "holds no tensors by name"),
        ({"network": {}, "progress": {}}, "what a training goes on from: give model.pt or last.pt"),
        ({"encoder.downsamples.0.0.weight": torch.ones(3)}, "have 1 axes, expected 4"),
        ({"encoder.a": torch.ones(3)}, r"missing \['decoder.align.0.weight', .*, and \d+ more\]"),
        ({"neck": torch.ones(3)}, r"no counterpart in MCANet for 1 names of the checkpoint: \['neck'\]"),
    ],
)
def test_what_no_training_can_start_from_is_named(content: dict, words: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "some.pt")
    with pytest.raises(ValueError, match=rf"some.pt'.*{words}") as raised:
        start_from(MCANet(), tmp_path / "some.pt")
    assert len(str(raised.value)) < 1000


def test_weights_of_another_variant_are_not_taken_for_other_classes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save({"state_dict": MCANet().state_dict()}, tmp_path / "tiny.pt")
    with pytest.raises(ValueError, match="do not fit the network"):
        start_from(MCANet(variant="small"), tmp_path / "tiny.pt")
    assert caplog.text == ""
