"""The bundle from Python, as docs/programmatic.md shows it."""

from pathlib import Path
from typing import Any

import monai.bundle
import nibabel
import numpy as np
import pytest
import torch
from mcanet.scripts.networks import MCANet
from monai.engines.utils import IterationEvents

from ..conftest import BUNDLE
from ..end_to_end import hippocampi


@pytest.mark.parametrize("workflow_type", ["train", "inference"])
def test_load_gives_the_network_with_the_shipped_weights(
    workflow_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BUNDLE))
    network = monai.bundle.load(
        BUNDLE.name, bundle_dir=BUNDLE.parent, source="github", workflow_type=workflow_type, device="cpu"
    )
    assert type(network).__name__ == MCANet.__name__
    shipped = torch.load(BUNDLE / "models" / "model.pt", weights_only=True)
    loaded = network.state_dict()
    assert loaded.keys() == shipped.keys()
    assert all(torch.equal(loaded[name], shipped[name]) for name in shipped)


def test_a_workflow_gives_every_case_as_it_is_segmented(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BUNDLE))
    for i in range(2):
        nibabel.save(hippocampi.volume(i)[0], tmp_path / f"case_{i}.nii.gz")
    workflow = monai.bundle.create_workflow(
        config_file=str(BUNDLE / "configs" / "inference.json"),
        workflow_type="inference",
        dataset_dir=str(tmp_path),
        output_dir=str(tmp_path / "out"),
        planes=[2],
        spacing=1.5,
        roi_size=[64, 64],
    )
    labels: dict[str, np.ndarray] = {}

    def keep(engine: Any) -> None:
        labels[engine.state.batch["case"].case_id] = engine.state.output["pred"][0].cpu().numpy()

    workflow.evaluator.add_event_handler(IterationEvents.MODEL_COMPLETED, keep)
    workflow.run()
    workflow.finalize()
    assert labels.keys() == {"case_0", "case_1"}
    for case, found in labels.items():
        written = nibabel.load(tmp_path / "out" / case / "segmentation.nii.gz")
        assert found.dtype == np.uint8
        assert np.array_equal(found, np.asarray(written.dataobj))
    assert np.array_equal(workflow.evaluator.state.output["pred"][0].cpu().numpy(), labels["case_1"])


def test_a_run_with_nothing_to_read_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BUNDLE))
    workflow = monai.bundle.create_workflow(
        config_file=str(BUNDLE / "configs" / "inference.json"),
        workflow_type="inference",
        dataset_dir=str(tmp_path),
        output_dir=str(tmp_path / "out"),
    )
    with pytest.raises(SystemExit, match="nothing to read"):
        workflow.run()
