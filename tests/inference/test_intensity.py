"""Normalised slice by slice, an image is what MONAI's transform makes of it at once."""

import pytest
import torch
from mcanet.scripts.inference import SlicewiseInferer, at_once, by_slice, slicewise
from mcanet.scripts.slices import with_context
from monai.data import MetaTensor
from monai.transforms import Compose, Identityd, NormalizeIntensityd, ScaleIntensityRanged

RULES = [
    ScaleIntensityRanged("image", -100, 300, -1, 1, clip=True),
    NormalizeIntensityd("image"),
    NormalizeIntensityd("image", channel_wise=True),
    NormalizeIntensityd("image", channel_wise=True, subtrahend=[10.0, 20.0], divisor=[3.0, 0.0]),
    NormalizeIntensityd("image", subtrahend=10, divisor=3),
]


def image() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randint(-900, 1000, (2, 9, 8, 70), dtype=torch.int16)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("axis", [0, 2])
def test_slices_are_those_of_the_normalised_volume(rule: object, axis: int) -> None:
    volume, indices = image(), torch.tensor([0, 3, 7])
    whole = rule({"image": volume.clone()})["image"]  # type: ignore[operator]
    slices = by_slice(rule)(volume)(with_context(volume, axis, indices, 1).float())  # type: ignore[arg-type,misc]
    assert type(slices) is torch.Tensor
    torch.testing.assert_close(
        slices, with_context(whole.as_tensor(), axis, indices, 1), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize(
    "rule",
    [
        NormalizeIntensityd("image", nonzero=True),
        Compose([]),
        NormalizeIntensityd("image", torch.ones(2, 1, 1, 1)),
    ],
)
def test_what_needs_the_whole_volume_runs_at_once(rule: object) -> None:
    assert by_slice(rule) is None  # type: ignore[arg-type]
    assert at_once(rule, SlicewiseInferer()) is rule  # type: ignore[arg-type]


def test_an_image_is_normalised_once_whoever_infers() -> None:
    rule = RULES[0]
    assert isinstance(at_once(rule, SlicewiseInferer(intensity=by_slice(rule))), Identityd)
    assert at_once(rule, SlicewiseInferer()) is rule
    assert at_once(rule, object()) is rule


def test_a_large_picture_is_segmented_in_tiles_as_if_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slicewise, "_TILE", 32)
    monkeypatch.setattr(slicewise, "_MARGIN", 4)
    seen = []

    def network(x: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(x.shape[-2:]))
        smooth = torch.nn.functional.avg_pool2d(x, 5, 1, 2, count_include_pad=False)
        return torch.cat([-smooth, smooth], 1)

    picture = MetaTensor(torch.randint(0, 255, (1, 1, 100, 33), dtype=torch.uint8))
    inferer = SlicewiseInferer(intensity=by_slice(NormalizeIntensityd("image")))
    tiled = inferer(picture, network)
    assert max(seen) == (32 + 2 * 4, 32 + 1)
    monkeypatch.setattr(slicewise, "_TILE", 3072)
    assert torch.equal(tiled, inferer(picture, network))


def test_tiles_see_as_many_of_the_networks_pixels_whatever_the_voxels_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slicewise, "_TILE", 32)
    monkeypatch.setattr(slicewise, "_MARGIN", 4)
    seen = []

    def network(x: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(x.shape[-2:]))
        return torch.cat([-x, x], 1)

    slide = MetaTensor(torch.rand(1, 1, 128, 32, 1), affine=torch.diag(torch.tensor([0.5, 0.5, 1, 1])))
    SlicewiseInferer(planes=[2], spacing=2.0)(slide, network)
    assert max(seen) == (32 // 4 + 2 * 4, 32 // 4)  # four voxels a pixel
