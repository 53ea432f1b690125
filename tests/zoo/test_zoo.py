"""The model zoo's premerge on the repository's bundle and on exported ones."""

import csv
import hashlib
import json
import sys
from pathlib import Path

import pytest

from ..conftest import BUNDLE
from ..end_to_end import hippocampi
from ..end_to_end.run import command, monai_bundle

SCHEMA = Path(__file__).parents[1] / "end_to_end" / "meta_schema_20240725.json"
HEADINGS = (
    "# Model overview",
    "## Data",
    "## Preprocessing",
    "## Training configuration",
    "## Input",
    "## Output",
    "## Performance",
    "## Commands",
    "## References",
    "## License",
)


@pytest.fixture(params=["repository", "hippocampus", "other"])
def bundle(request: pytest.FixtureRequest) -> Path:
    return BUNDLE if request.param == "repository" else request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hippocampi.decathlon(tmp_path_factory.mktemp("dataset"), count=5)


def premerge(bundle: Path, *arguments: object) -> None:
    run = command(
        sys.executable, "-W", "ignore", Path(__file__).with_name("premerge.py"), *arguments, cwd=bundle
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]


def sha256_of_weights(bundle: Path) -> str:
    return hashlib.sha256((bundle / "models" / "model.pt").read_bytes()).hexdigest()


def test_structure(bundle: Path) -> None:
    for name in ("LICENSE", "docs/README.md", "docs/data_license.txt", "configs/logging.conf"):
        assert (bundle / name).is_file(), name
    for name in ("metadata", "train", "evaluate", "inference", "multi_gpu_train", "multi_gpu_evaluate"):
        assert json.loads((bundle / "configs" / f"{name}.json").read_text())
    assert [path.name for path in (bundle / "models").glob("*.pt")] == ["model.pt"]  # Label offers every one
    assert max(path.stat().st_size for path in bundle.rglob("*") if path.is_file()) < 25e6
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    assert metadata["name"]
    assert metadata["version"] in metadata["changelog"]


def test_model_card_has_the_zoos_headings_in_their_order(bundle: Path) -> None:
    lines = (bundle / "docs" / "README.md").read_text().splitlines()
    found = [line for line in lines if line in HEADINGS]
    assert tuple(found) == HEADINGS


@pytest.mark.slow
def test_metadata_network_and_torchscript(bundle: Path, tmp_path: Path) -> None:
    premerge(bundle, "verify", SCHEMA, tmp_path)


@pytest.mark.slow
def test_training_evaluation_and_inference(bundle: Path, dataset: Path, tmp_path: Path) -> None:
    premerge(bundle, "workflows", dataset, tmp_path)
    assert (tmp_path / "train" / "model.pt").is_file()
    assert len((tmp_path / "evaluate" / "mean_dice_raw.csv").read_text().splitlines()) == 1 + 5
    with (tmp_path / "inference" / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["status"], row["model_sha256"]) for row in rows] == [("done", sha256_of_weights(bundle))] * 5


@pytest.mark.slow
def test_an_exported_bundle_runs_from_any_directory_on_its_own_weights(
    other: Path, dataset: Path, tmp_path: Path
) -> None:
    run = monai_bundle(
        "run", "--config_file", other / "configs" / "inference.json",
        "--dataset_dir", dataset / "imagesTr" / "case_0.nii.gz", "--output_dir", "out", cwd=tmp_path,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    with (tmp_path / "out" / "manifest.csv").open(newline="") as file:
        assert [row["model_sha256"] for row in csv.DictReader(file)] == [sha256_of_weights(other)]
