"""Every exported form answers as the network does, on pictures of any size and on real hippocampi."""

import json
import sys
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from mcanet.scripts.training import labelled_datalist
from monai.bundle import ConfigParser
from monai.data import MetaTensor

from ..conftest import BUNDLE, DATA, ROOT
from ..end_to_end.run import CONFIGS, command
from .forms import FORMS, Network, eager, torchscript

Form = Callable[[Path], Network]
HIPPOCAMPUS = DATA / "hippocampus"
ALL = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where each form is exported to, once."""
    return tmp_path_factory.mktemp("exports")


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> ConfigParser:
    """The inference configuration, whose preprocessing and inferer are put around the exported networks."""
    monkeypatch.syspath_prepend(str(BUNDLE))
    parser = ConfigParser()
    parser.read_config(str(CONFIGS / "inference.json"))
    return parser


def check_sizes(network: Network) -> None:
    reference = eager()
    with torch.no_grad():
        for shape in ((1, 3, 64, 64), (2, 3, 96, 128), (3, 3, 45, 70)):
            image = torch.randn(shape)
            torch.testing.assert_close(network(image), reference(image), atol=1e-3, rtol=1e-3)


def check_labels(network: Network, settings: ConfigParser, files: list[Path]) -> None:
    """Equal labels, and logits within 1e-3, of every volume; prints the figures."""
    reference, inferer = eager(), settings.get_parsed_content("inferer")
    for file in files:
        apart = 0.0

        def exported(slices: torch.Tensor) -> torch.Tensor:
            nonlocal apart
            logits = network(slices)
            apart = max(apart, (logits - reference(slices)).abs().max().item())
            return logits

        image = settings.get_parsed_content("preprocessing")({"image": str(file)})["image"][None]
        labels, expected = inferer(image, exported), inferer(image, reference)
        equal = (labels == expected).float().mean().item()
        print(f"{file.name}: {100 * equal:.4f} % of {labels.numel()} labels equal, logits within {apart:.1e}")
        assert (expected > 0).sum() > 1000
        assert equal >= 0.9999  # a tie of two classes may fall either way
        assert apart < 1e-3


def test_torchscript_takes_any_batch_height_and_width(folder: Path) -> None:
    check_sizes(torchscript(folder))


def test_torchscript_carries_what_monai_deploy_reads(folder: Path, settings: ConfigParser) -> None:
    torchscript(folder)
    with zipfile.ZipFile(folder / "model.ts") as archive:
        carried = {
            name: json.loads(archive.read(f"model/extra/{name}.json")) for name in ("metadata", "inference")
        }
    assert carried == {name: json.loads((CONFIGS / f"{name}.json").read_text()) for name in carried}
    settings.read_config(carried["inference"])
    for name in ("inferer", "preprocessing", "postprocessing"):
        settings.get_parsed_content(name)
    # what the SDK's own bundle operator gives, a volume without its files, is refused and not segmented
    with pytest.raises(RuntimeError) as refused:
        settings.get_parsed_content("preprocessing")({"image": MetaTensor(torch.rand(36, 50, 36))})
    assert "expected a Case or a path, received MetaTensor" in str(refused.value.__cause__)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS[1:], ids=lambda form: form.__name__)
def test_any_batch_height_and_width(form: Form, folder: Path) -> None:
    check_sizes(form(folder))


@pytest.mark.slow
@ALL
@pytest.mark.skipif(find_spec("nilearn") is None, reason="needs nilearn's template, which make env installs")
def test_equal_labels_on_both_hippocampi_of_the_template(
    form: Form, folder: Path, settings: ConfigParser, tmp_path: Path
) -> None:
    made = command(sys.executable, ROOT / "demo" / "make_study.py", "study", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    check_labels(form(folder), settings, [tmp_path / "study" / side for side in ("left", "right")])


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.skipif(not HIPPOCAMPUS.is_dir(), reason="needs the labelled data beside the repository")
@ALL
def test_equal_labels_on_volumes_that_the_weights_never_saw(
    form: Form, folder: Path, settings: ConfigParser
) -> None:
    pairs = labelled_datalist(HIPPOCAMPUS, "test")[:4]
    check_labels(form(folder), settings, [Path(pair["image"]) for pair in pairs])
