"""Training in MONAI Label, from the task's own weights and on its own labels."""

from pathlib import Path
from typing import Any

from monailabel.tasks.train.bundle import BundleTrainTask


class Train(BundleTrainTask):
    """A bundle's training.

    Label would load the weights with gaps allowed, and fail without ``pretrained``; the bundle's ``init_path``
    loads them strictly or not at all.

    Args:
        folder: of the bundle.
        conf: the app's.
    """

    def __init__(self, folder: Path, conf: dict[str, str]) -> None:
        super().__init__(str(folder), conf, load_strict=True)
        self.init_path: str | None = None

    def __call__(self, request: dict[str, Any], datastore: Any) -> dict[str, Any]:
        """Train; 3D Slicer sends an empty ``run_id``, which means the usual one."""
        return dict(super().__call__({**request, "run_id": request.get("run_id") or "run"}, datastore))

    def _fetch_datalist(self, request: dict[str, Any], datastore: Any) -> list[dict[str, str]]:
        found: list[dict[str, str]] = datastore.labelled(request["model"])
        if not found:
            raise SystemExit(
                f"no image is labelled for {request['model']!r}: save a label in the viewer; one put into the "
                "folder by hand is of no task"
            )
        return found

    def _load_checkpoint(self, model_pytorch: str, pretrained: bool, train_handlers: list[Any]) -> None:
        self.init_path = model_pytorch if pretrained else None

    def _update_overrides(self, overrides: dict[str, Any]) -> dict[str, Any]:
        overrides["init_path"] = self.init_path
        overrides["resume"] = False  # labels have come since; what an earlier training saved is in init_path
        overrides["max_epochs"] = overrides["train#trainer#max_epochs"]
        return overrides
