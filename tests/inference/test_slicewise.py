"""The slice-wise inferer, with networks whose answer is known at every voxel."""

import pytest
import torch
from mcanet.scripts.inference import SlicewiseInferer, by_slice, slicewise
from mcanet.scripts.inference.disagreement import passes
from mcanet.scripts.networks import Ensemble
from monai.data import MetaTensor, list_data_collate
from monai.transforms import NormalizeIntensityd


class Sign(torch.nn.Module):
    """Two classes: whether the slice itself, the middle one of ``channels``, is above zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.middle = channels // 2
        self.sizes: set[tuple[int, ...]] = set()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.sizes.add(tuple(x.shape))
        value = x[:, self.middle : self.middle + 1]
        return torch.cat([-value, value], 1)


def volume(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "options",
    [
        {"planes": [0]},
        {"planes": [1], "sw_batch_size": 3},
        {"planes": [2], "context": 1},
        {"planes": [0, 1, 2], "context": 2},
        {"planes": [2], "flips": [[0], [1, 2]]},
        {"planes": [1], "roi_size": (32, 32)},
        {"planes": [0, 2], "roi_size": (4, 5), "overlap": 0.5},
    ],
)
def test_labels_lie_where_the_voxels_do(options: dict) -> None:
    image = volume(2, 1, 9, 7, 8)
    labels = SlicewiseInferer(**options)(image, Sign(2 * options.get("context", 0) + 1))
    assert labels.dtype == torch.uint8
    assert torch.equal(labels, (image > 0).to(torch.uint8))


def test_context_gives_the_neighbours_and_repeats_the_edges() -> None:
    image = torch.arange(5.0).reshape(1, 1, 1, 1, 5).expand(1, 1, 2, 3, 5)
    seen = []

    def network(x: torch.Tensor) -> torch.Tensor:
        seen.extend(x[:, :, 0, 0].tolist())
        return x[:, :1]

    SlicewiseInferer(planes=[2], context=1, sw_batch_size=2)(image, network)
    assert seen == [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 4]]


@pytest.mark.parametrize("options", [{}, {"roi_size": (16, 16)}, {"flips": [[0]]}])
def test_pictures_are_volumes_of_one_slice(options: dict) -> None:
    picture = volume(2, 3, 33, 21)
    labels = SlicewiseInferer(**options)(picture, Sign(3))
    assert torch.equal(labels, (picture[:, 1:2] > 0).to(torch.uint8))


def test_one_class_is_cut_at_logit_zero_alone_and_averaged() -> None:
    image = volume(1, 1, 6, 5, 4)
    for options in ({"planes": [2]}, {"planes": [0, 1, 2], "flips": [[1]]}):
        labels = SlicewiseInferer(**options)(image, lambda x: x)
        assert torch.equal(labels, (image > 0).to(torch.uint8))


def test_slices_run_at_the_spacing_of_the_network_and_come_back() -> None:
    half = torch.zeros(1, 1, 20, 30, 4)
    half[:, :, :, 15:] = 1
    image = MetaTensor(half - 0.5, affine=torch.diag(torch.tensor([2.0, 0.5, 3.0, 1.0])))
    network = Sign(1)
    labels = SlicewiseInferer(planes=[2], spacing=1.0)(image, network)
    assert network.sizes == {(4, 1, 40, 15)}
    assert labels.shape == image.shape
    off = labels.as_tensor() != half
    assert not off[:, :, :, :13].any()
    assert not off[:, :, :, 17:].any()


def test_each_volume_of_a_batch_has_its_own_spacing() -> None:
    affines = [torch.eye(4), torch.diag(torch.tensor([3.0, 2.0, 1.0, 1.0]))]
    batch = list_data_collate([MetaTensor(torch.ones(1, 8, 8, 2), affine=affine) for affine in affines])
    network = Sign(1)
    SlicewiseInferer(spacing=1.0)(batch, network)
    assert network.sizes == {(2, 1, 8, 8), (2, 1, 24, 16)}


@pytest.mark.parametrize("shape", [(16, 1, 4), (16, 4, 1), (4, 16, 1)])
def test_a_slice_one_pixel_wide_comes_back_row_by_row(shape: tuple[int, int, int]) -> None:
    rows = torch.linspace(-1, 1, 16).reshape([n if n == 16 else 1 for n in shape])
    image = MetaTensor(rows.expand(1, 1, *shape), affine=torch.eye(4))
    for axis in (axis for axis in range(3) if shape[axis] == 4):
        labels = SlicewiseInferer(planes=[axis], spacing=0.5)(image, Sign(1))
        assert torch.equal(labels.as_tensor(), (image.as_tensor() > 0).to(torch.uint8))


def test_slices_of_any_size_are_squashed_to_one_and_come_back() -> None:
    for size in ((48, 20), (2100, 2000)):  # the second would go tile by tile, each squashed for itself
        picture = torch.full((1, 1, *size), -1.0)
        picture[:, :, size[0] // 2 :] = 1
        network = Sign(1)
        labels = SlicewiseInferer(spatial_size=(32, 40), roi_size=(32, 40))(picture, network)
        assert network.sizes == {(1, 1, 32, 40)}
        assert (labels != (picture > 0)).float().mean() <= 0.05
    with pytest.raises(
        ValueError, match="not both: got spacing 2 and spatial_size \\[32, 40\\]; set one of them"
    ):
        SlicewiseInferer(spacing=2, spatial_size=(32, 40))


@pytest.mark.parametrize("flips", [[], [[0], [1], [2]]])
@pytest.mark.parametrize("classes", [1, 2])
def test_a_large_picture_is_squashed_part_by_part(
    classes: int, flips: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = torch.nn.functional.interpolate(volume(1, 3, 40, 30), (400, 311), mode="bicubic")
    sizes, answers = [], []
    for side in (2048, 100):
        monkeypatch.setattr(slicewise, "_TILE", side)
        monkeypatch.setattr(slicewise, "_PART", 10_000)
        network = Sign(3)
        inferer = SlicewiseInferer(
            spatial_size=(64, 48), intensity=by_slice(NormalizeIntensityd("image")), flips=flips
        )
        answers.append(inferer(picture, lambda x, whole=network: whole(x)[:, -classes:]))
        sizes.append(network.sizes)
    assert sizes == [{(1, 3, 64, 48)}] * 2
    assert (answers[0] != answers[1]).float().mean() < 1e-4  # where a sum is 0 but for rounding
    assert 0.1 < answers[0].float().mean() < 0.9


@pytest.mark.parametrize("options", [{}, {"flips": [[0]]}, {"planes": [0, 1, 2]}])
@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("classes", [1, 2])
@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan])
def test_an_infinite_answer_is_no_label(options: dict, members: int, classes: int, value: float) -> None:
    class Broken(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits = torch.zeros(len(x), classes, *x.shape[2:])
            logits[:, 0, 0, 0] = value
            return logits

    network = Ensemble([Broken()] * members) if members > 1 else Broken()
    with pytest.raises(ValueError, match="not finite"):
        SlicewiseInferer(**options)(volume(1, 1, 6, 5, 4), network)


def test_slices_smaller_than_the_roi_are_padded_and_larger_ones_go_in_windows() -> None:
    for size, seen in (((20, 30), {(2, 1, 32, 32)}), ((40, 33), {(2, 1, 32, 32)})):
        network = Sign(1)
        SlicewiseInferer(planes=[2], roi_size=(32, 32), sw_batch_size=2)(volume(1, 1, *size, 2), network)
        assert network.sizes == seen


def test_labels_keep_the_metadata_that_undoes_the_orientation() -> None:
    affine = torch.diag(torch.tensor([-1.0, -1.0, 2.0, 1.0]))
    labels = SlicewiseInferer(planes=[2])(MetaTensor(volume(1, 1, 4, 4, 4), affine=affine), Sign(1))
    assert isinstance(labels, MetaTensor)
    assert torch.equal(labels.affine, affine.double())


def test_a_large_scan_never_becomes_a_float_volume_of_all_classes() -> None:
    seen = []

    def nine_classes(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.shape[0])
        return x.expand(-1, 9, -1, -1)

    labels = SlicewiseInferer(planes=[2], sw_batch_size=4)(torch.zeros(1, 1, 64, 64, 50), nine_classes)
    assert max(seen) == 4
    assert labels.dtype == torch.uint8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"planes": []}, r"planes must be some of 0, 1 and 2, got \[\]"),
        ({"planes": [3]}, "planes must be"),
        ({"planes": [2.0]}, "planes must be"),
        ({"context": -1}, "context must be a whole number of at least 0"),
        ({"context": 1.5}, "context must be a whole number"),
        ({"sw_batch_size": 0}, "sw_batch_size one of at least 1"),
        ({"sw_batch_size": 2.5}, "sw_batch_size one of at least 1"),
        ({"overlap": 1}, "overlap must be at least 0 and below 1, got 1"),
        ({"overlap": -0.1}, "overlap must be"),
        ({"overlap": float("nan")}, "overlap must be"),
        ({"overlap": "0.5"}, "overlap must be"),
        ({"flips": [[0, 0]]}, "flips must be lists of the axes"),
        ({"flips": [[0.0]]}, "flips must be lists of the axes"),
        ({"roi_size": 4.5}, "roi_size must be two whole numbers"),
    ],
)
def test_wrong_options_say_what_is_allowed(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SlicewiseInferer(**options)


def test_wrong_number_of_dimensions_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"expected \(B, C, X, Y\) or"):
        SlicewiseInferer()(torch.zeros(4, 4), Sign(1))


def test_an_ensemble_averages_probabilities() -> None:
    sure, unsure = (lambda x, k=k: torch.cat([-k * x, k * x], 1) for k in (5.0, -1.0))

    class Member(torch.nn.Module):
        def __init__(self, function) -> None:
            super().__init__()
            self.function = function

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.function(x)

    image = volume(1, 1, 6, 5, 4)
    both = Ensemble([Member(sure), Member(unsure)])
    mean = (sure(image[..., 0]).softmax(1) + unsure(image[..., 0]).softmax(1)) / 2
    torch.testing.assert_close(both(image[..., 0]).softmax(1), mean)
    one_class = Ensemble([Member(lambda x: 5 * x), Member(lambda x: -x)])(image[..., 0])
    torch.testing.assert_close(one_class.sigmoid(), ((5 * image).sigmoid() + (-image).sigmoid())[..., 0] / 2)
    assert len(passes(image[0], SlicewiseInferer(planes=[0, 2], flips=[[0], [1, 2]]), both)) == 2 * 3 * 2
    assert len(passes(image[0, ..., 0], SlicewiseInferer(planes=[2], flips=[[2], [0, 2]]), both)) == 3 * 2
    for labels in passes(image[0], SlicewiseInferer(planes=[0, 2], flips=[[0], [1, 2]]), Member(sure)):
        assert torch.equal(labels, (image[0] > 0).to(torch.uint8))
