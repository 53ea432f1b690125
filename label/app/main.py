"""A MONAI Label app that serves every bundle of MCANet in its folder ``model``."""

import json
import os
from pathlib import Path
from typing import Any

import monailabel.datastore.dicom
import monailabel.endpoints.infer
from lib.answer import answered
from lib.infer import Infer, Votes
from lib.segments import write_dicom
from lib.store import FolderStore, PacsStore
from lib.train import Train
from mcanet.scripts.results import Label, label_table
from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.tasks.activelearning.epistemic import Epistemic
from monailabel.tasks.activelearning.first import First
from monailabel.tasks.activelearning.random import Random
from monailabel.tasks.scoring.epistemic_v2 import EpistemicScoring


class App(MONAILabelApp):
    """The bundles under ``model``, each a task of its own name, on a folder or a DICOMweb server.

    Args:
        app_dir: this folder.
        studies: folder of NIfTI files and pictures, or address of a DICOMweb server.
        conf: of ``--conf``; ``epistemic_model`` names tasks (by commas) whose uncertainty ranks images, and
            ``epistemic_dropout`` (0.2) and ``epistemic_simulation_size`` (5) set how.

    Raises:
        SystemExit: there is no bundle, or one cannot be served.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        folders = sorted(Path(app_dir, "model").glob("*/configs/inference.json"))
        self.bundles = {config.parents[1].name: config.parents[1] for config in folders}
        if not self.bundles:
            raise SystemExit(f"no bundle to serve: put its folder into {Path(app_dir, 'model')}")
        self.tables = {name: table_of(folder) for name, folder in self.bundles.items()}
        self.latest = ("", "")  # result file and task of the last inference
        monailabel.endpoints.infer.nifti_to_dicom_seg = self.write_seg
        super().__init__(app_dir, studies, conf, name="MCANet", description="MCANet's bundles")

    def init_infers(self) -> dict[str, Infer]:
        return {name: Infer(folder, self.conf) for name, folder in self.bundles.items()}

    def init_trainers(self) -> dict[str, Train]:
        return {name: Train(folder, self.conf) for name, folder in self.bundles.items()}

    def init_strategies(self) -> dict[str, Any]:
        return {"first": First(), "random": Random(), "epistemic": Epistemic()}

    def init_scoring_methods(self) -> dict[str, EpistemicScoring]:
        names = [name for name in self.conf.get("epistemic_model", "").split(",") if name]
        unknown = sorted(set(names) - set(self.bundles))
        if unknown:
            raise SystemExit(f"epistemic_model: no task {unknown}, expected some of {sorted(self.bundles)}")
        passes = int(self.conf.get("epistemic_simulation_size", "5"))
        return {
            name: EpistemicScoring(Votes(self.bundles[name], self.conf), simulation_size=passes)
            for name in names
        }

    def init_datastore(self) -> Datastore:
        if self.studies.startswith(("http://", "https://")):
            return super().init_datastore()
        return FolderStore(
            self.studies,
            extensions=[*settings.MONAI_LABEL_DATASTORE_FILE_EXT, "*.jpeg", "*.bmp", "*.tiff"],
            auto_reload=settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD,
            read_only=settings.MONAI_LABEL_DATASTORE_READ_ONLY,
            tables=self.tables,
        )

    def _init_dicomweb_datastore(self) -> Datastore:
        """Label's own, as our class; the tools that it would download write no SEG here."""
        store = super()._init_dicomweb_datastore()
        store.__class__ = PacsStore  # Label makes its own class by name
        store.tables = self.tables
        return store

    def _download_dcmqi_tools(self) -> None:
        return

    @answered()
    def infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Run one case: the store's image of an id, or an absolute path, as uploads and sessions have.

        Raises:
            HTTPException: there is no such image, or it is unfit.
        """
        store = datastore or self.datastore()
        image = request["image"]
        by_id = isinstance(image, str) and not os.path.isabs(image)
        # Label would take an id for a path of the working directory first
        path = store.get_image_uri(image) if by_id else image
        result = super().infer({**request, "image": path}, store)
        if by_id and request.get("save_label"):  # which Label does not do of a path
            tag = request.get("label_tag", DefaultLabelTag.ORIGINAL)
            info = {"model": request["model"], "params": result["params"]}
            result["label"] = store.save_label(image, result["file"], tag, info)
        self.latest = (result["file"], request["model"])
        return result

    @answered()
    def write_seg(self, series_dir: str, label: str, *_: Any, **__: Any) -> str:
        """A DICOM SEG of the last inference's mask, in place of Label's, which names segments by their order."""
        file, task = self.latest
        if file != label:
            raise ValueError(f"{label} is not the mask of the last inference; ask again")
        return write_dicom(label, series_dir, self.tables[task])


def table_of(folder: Path) -> tuple[Label, ...]:
    """The label table of a bundle."""
    return label_table(json.loads((folder / "configs" / "inference.json").read_text())["labels"])
