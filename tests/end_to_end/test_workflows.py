"""Training, evaluation and inference as the model zoo checks them, and the other verbs."""

import sys
from pathlib import Path

import nibabel
import pytest
import torch
from monai.bundle import ConfigWorkflow

from . import hippocampi
from .run import CONFIGS, mcanet, monai_bundle


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hippocampi.decathlon(tmp_path_factory.mktemp("dataset"), count=5)


@pytest.fixture(scope="module")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model.pt and last.pt after one epoch, by the zoo's own sequence of calls."""
    folder = tmp_path_factory.mktemp("trained")
    workflow = ConfigWorkflow(
        workflow_type="train",
        config_file=str(CONFIGS / "train.json"),
        dataset_dir=str(dataset),
        ckpt_dir=str(folder),
        output_dir=str(folder),
        max_epochs=2,
        val_interval=1,
        num_workers=0,
        batch_size=2,
    )
    run_to_the_end(workflow)
    return folder


def run_to_the_end(workflow: ConfigWorkflow) -> None:
    sys.path.insert(0, str(CONFIGS.parent))
    try:
        workflow.initialize()
        assert workflow.check_properties() == []
        workflow.run()
        workflow.finalize()
    finally:
        sys.path.remove(str(CONFIGS.parent))


def test_training_leaves_the_best_and_the_last_weights_and_a_log(trained: Path) -> None:
    best = torch.load(trained / "model.pt", weights_only=True)
    last = torch.load(trained / "last.pt", weights_only=True)
    assert best.keys() == last.keys()
    assert all(tensor.isfinite().all() for tensor in last.values())
    assert list(trained.glob("events.out.tfevents.*"))


def test_the_optimisers_own_settings_win(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(CONFIGS.parent))
    settings = {"dataset_dir": str(dataset), "ckpt_dir": str(tmp_path), "output_dir": str(tmp_path)}
    changed = {"optimizer#lr": 0.5, "optimizer#weight_decay": 0.3}
    workflow = ConfigWorkflow(
        workflow_type="train", config_file=str(CONFIGS / "train.json"), **settings, **changed
    )
    groups = workflow.parser.get_parsed_content("optimizer").param_groups
    assert {group["lr"] for group in groups} == {0.5, 1.0}  # the decoder learns twice as fast
    assert {group["weight_decay"] for group in groups} == {0.0, 0.3}


def test_evaluation_measures_on_the_label_as_it_was_read(
    trained: Path, dataset: Path, tmp_path: Path
) -> None:
    workflow = ConfigWorkflow(
        workflow_type="evaluation",
        config_file=str(CONFIGS / "evaluate.json"),
        dataset_dir=str(dataset),
        ckpt_path=str(trained / "model.pt"),
        output_dir=str(tmp_path),
        subset="all",
    )
    run_to_the_end(workflow)
    assert len((tmp_path / "mean_dice_raw.csv").read_text().splitlines()) == 1 + 5
    assert 0 <= workflow.evaluator.state.metrics["mean_dice"] <= 1


def test_inference_runs_from_python_with_its_results_at_hand(
    trained: Path, dataset: Path, tmp_path: Path
) -> None:
    workflow = ConfigWorkflow(
        workflow_type="inference",
        config_file=str(CONFIGS / "inference.json"),
        dataset_dir=str(dataset / "imagesTr"),
        ckpt_path=str(trained / "model.pt"),
        output_dir=str(tmp_path),
    )
    run_to_the_end(workflow)
    assert workflow.evaluator.state.output["pred"].shape == (1, 36, 44, 32)
    assert len(list(tmp_path.glob("case_*/segmentation.nii.gz"))) == 5
    assert nibabel.load(tmp_path / "case_0" / "segmentation.nii.gz").shape == (36, 44, 32)


def test_evaluate_and_train_say_what_a_data_set_is(tmp_path: Path) -> None:
    for verb in ("train", "evaluate"):
        run = mcanet(verb, tmp_path, cwd=tmp_path)
        assert run.returncode == 1
        assert "no dataset.json in" in run.stderr
        assert "Traceback" not in run.stderr


def test_verify_metadata_with_a_local_schema(tmp_path: Path) -> None:
    schema = Path(__file__).parent / "meta_schema_20240725.json"
    run = monai_bundle(
        "verify_metadata", "--meta_file", CONFIGS / "metadata.json", "--filepath", schema, cwd=tmp_path
    )
    assert run.returncode == 0, run.stderr
    assert "verified with no error" in run.stdout + run.stderr


def test_verify_net_in_out(tmp_path: Path) -> None:
    files = ("--meta_file", CONFIGS / "metadata.json", "--config_file", CONFIGS / "inference.json")
    run = monai_bundle("verify_net_in_out", "--net_id", "network_def", *files, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "verified with no error" in run.stdout + run.stderr
