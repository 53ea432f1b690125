"""Where images and labels lie: labels are kept with the values of their task's table."""

import logging
import os
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from mcanet.scripts.results import write_image
from mcanet.scripts.study import LoadStudyd
from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.datastore.local import LocalDatastore
from monailabel.datastore.utils.dicom import dicom_web_download_series, dicom_web_upload_dcm
from monailabel.interfaces.datastore import DefaultLabelTag

from .answer import answered
from .segments import (
    Tables,
    check_values,
    read_dicom,
    read_mask,
    task_of,
    temporary,
    to_values,
    write_dicom,
    write_mask,
    written_at,
)

logger = logging.getLogger("mcanet")
FINAL = DefaultLabelTag.FINAL


class OwnFolder:
    """A store that keeps images in no other folder than its own."""

    @answered()
    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Keep an image.

        Raises:
            ValueError: its id leads to another folder.
        """
        check_name(image_id)
        return str(super().add_image(image_id, image_filename, image_info))  # type: ignore[misc]


class FolderStore(OwnFolder, LocalDatastore):
    """A folder of NIfTI files and pictures."""

    def __init__(self, *args: Any, tables: Tables, **kwargs: Any) -> None:
        self.tables = tables
        super().__init__(*args, **kwargs)
        self._warn_of_twins()

    def _warn_of_twins(self) -> None:
        """Name the files that share an id, of which Label takes one."""
        by_id = defaultdict(list)
        for file in self._list_files(self._datastore.image_path(), self._extensions):
            by_id[self._to_id(file)[0]].append(file)
        for files in by_id.values():
            if len(files) > 1:
                logger.warning("of %s only one is served: rename the others", sorted(files))

    def get_image_uri(self, image_id: str) -> str:
        """The file of an image.

        Raises:
            HTTPException: there is no such image.
        """
        uri = super().get_image_uri(image_id)
        if not uri:
            raise unknown(image_id)
        return str(uri)

    @answered()
    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]
    ) -> str:
        """Keep a label with its task; see :func:`by_table`.

        Raises:
            ValueError: its names are of no task, or its tag leads to another folder.
        """
        check_name(label_tag)
        task, file = by_table(label_filename, self.get_image_uri(image_id), label_info, self.tables)
        saved = super().save_label(image_id, str(file), label_tag, {**label_info, "task": task})
        discard(file)
        return saved

    def labelled(self, task: str) -> list[dict[str, str]]:
        """The images whose final label is of a task, and those labels."""
        return labelled(self, task)


class PacsStore(OwnFolder, DICOMWebDatastore):
    """A DICOMweb server; series are read by our strict reader, and final labels are DICOM SEG of our writer."""

    tables: Tables

    def get_image_uri(self, image_id: str) -> str:
        """The series as NIfTI.

        Raises:
            HTTPException: the server has no such series.
            ValueError: the series is unfit, and why.
        """
        folder = self._series(image_id, self._datastore.image_path())
        nifti = Path(self._datastore.image_path()).resolve() / f"{image_id}.nii.gz"
        if not nifti.exists() or nifti.stat().st_mtime < folder.stat().st_mtime:
            file = temporary(".nii.gz")
            write_image(LoadStudyd("image")({"image": folder})["image"], file)
            LocalDatastore.add_image(self, image_id, str(file), self._dicom_info(image_id))
            discard(file)
        return str(nifti)

    def get_label_uri(self, label_id: str, label_tag: str, image_id: str = "") -> str:
        """The final label of an image, read from a SEG on the server that is newer than what is kept.

        An empty text stands for the SEG of another software's labels.
        """
        kept = str(LocalDatastore.get_label_uri(self, image_id or label_id, label_tag))
        if label_tag != FINAL or not image_id:
            return kept
        known = self.get_label_info(image_id, FINAL) if os.path.exists(kept) else {}
        if known.get("SeriesInstanceUID") == label_id:
            return kept
        seg = next(self._series(label_id, self._datastore.label_path(FINAL)).iterdir())
        written = written_at(seg)
        if known and known.get("written", "") >= written:
            return kept
        try:
            task, mask = read_dicom(seg, self._folder(image_id), self.tables)
        except (ValueError, RuntimeError) as error:
            logger.warning("SEG series %s is left out: %s", label_id, error)
            return ""
        file = write_mask(mask)
        info = {**self._dicom_info(label_id), "task": task, "written": written}
        LocalDatastore.save_label(self, image_id, str(file), FINAL, info)
        discard(file)
        return str(LocalDatastore.get_label_uri(self, image_id, FINAL))

    @answered()
    def save_label(
        self,
        image_id: str,
        label_filename: str,
        label_tag: str,
        label_info: dict[str, Any],
        label_id: str = "",
    ) -> str:
        """Keep a label with its task, and send a final one to the server as DICOM SEG; see :func:`by_table`.

        Raises:
            ValueError: its names are of no task, or its tag leads to another folder.
        """
        check_name(label_tag)
        task, file = by_table(label_filename, self.get_image_uri(image_id), label_info, self.tables)
        info = {**label_info, "task": task}
        if label_tag == FINAL:
            seg = Path(write_dicom(file, self._folder(image_id), self.tables[task]))
            info["written"] = written_at(seg)
            info["SeriesInstanceUID"] = dicom_web_upload_dcm(seg, self._client)
            discard(seg)
        saved = LocalDatastore.save_label(self, image_id, str(file), label_tag, info)
        discard(file)
        return str(saved)

    def labelled(self, task: str) -> list[dict[str, str]]:
        """The images whose final label is of a task, and those labels; new SEGs are fetched first."""
        self._download_labeled_data()
        return labelled(self, task)

    def _folder(self, image_id: str) -> Path:
        return Path(self._datastore.image_path()).resolve() / image_id

    def _series(self, series_id: str, parent: str) -> Path:
        """The folder of a series as the server holds it now, fetched whole or not at all."""
        study, instances = self._instances(series_id)
        folder = Path(parent).resolve() / series_id
        if {file.stem for file in folder.glob("*.dcm")} != instances:
            partial = folder.with_name(f".{series_id}.{os.getpid()}.part")
            shutil.rmtree(partial, ignore_errors=True)
            dicom_web_download_series(study, series_id, str(partial), self._client, self._fetch_by_frame)
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(partial, folder)
        return folder

    def _instances(self, series_id: str) -> tuple[str, set[str]]:
        """The study and the instances of a series, by their UIDs on the server."""
        series = self._client.search_for_series(search_filters={"SeriesInstanceUID": series_id})
        studies = [
            found["0020000D"]["Value"][0] for found in series if found["0020000E"]["Value"] == [series_id]
        ]
        if not studies:
            raise unknown(series_id)
        instances = self._client.search_for_instances(studies[0], series_id, get_remaining=True)
        return studies[0], {instance["00080018"]["Value"][0] for instance in instances}


def unknown(image_id: str) -> HTTPException:
    """What is answered where the studies hold no such image."""
    return HTTPException(404, detail=f"no image {image_id!r} in the studies: reload the list of images")


def check_name(name: str) -> None:
    """See that an id or a tag names a file or folder right where it belongs.

    Raises:
        ValueError: it leads elsewhere, or is hidden.
    """
    if name.startswith(".") or "/" in name or "\\" in name:
        raise ValueError(f"{name!r} starts with a dot or leads to another folder: give another name")


def by_table(file: str, image: str, info: dict[str, Any], tables: Tables) -> tuple[str, Path]:
    """The task of a label, and a temporary copy with the values of the task's table.

    Args:
        file: the label; of an inference (``info["model"]`` is a task) with the table's values already, of a viewer
            with the places of its segments in ``info["label_info"]``, from 1, as 3D Slicer exports them.
        image: that it belongs to.
        info: what came with it.
        tables: by task.

    Raises:
        ValueError: names are of no task, a value has no name or is not of the task, or the grids differ.
    """
    names = [segment["name"] for segment in info.get("label_info") or []]
    inferred = info.get("model") in tables
    task = info["model"] if inferred else task_of(names, tables)
    mask = read_mask(file, image)
    if names and not inferred:
        mask.copy_(mask.new_tensor(to_values(mask.numpy(), names, tables[task])))
    check_values(mask, tables[task])
    return task, write_mask(mask)


def labelled(store: FolderStore | PacsStore, task: str) -> list[dict[str, str]]:
    """The images whose final label is of a task, and those labels; one of no task is left out with a warning."""
    found = []
    for image_id in LocalDatastore.get_labeled_images(store):
        image = LocalDatastore.get_image_uri(store, image_id)
        label = LocalDatastore.get_label_uri(store, image_id, FINAL)
        try:
            if kept_task(store.get_label_info(image_id, FINAL), label, image, store.tables) == task:
                found.append({"image": image, "label": label})
        except ValueError as error:
            logger.warning("the final label of %s is left out: %s", image_id, error)
    return found


def kept_task(info: dict[str, Any], label: str, image: str, tables: Tables) -> str:
    """The task that a label was kept with; of one that came without, the only task if it has those values.

    Raises:
        ValueError: it is of no task.
    """
    task = info.get("task", next(iter(tables)) if len(tables) == 1 else None)
    if task not in tables:
        raise ValueError(
            f"it is of {task or 'no task'}, expected {sorted(tables)}; save it again in the viewer"
        )
    if "task" not in info:
        check_values(read_mask(label, image), tables[task])
    return str(task)


def discard(file: Path) -> None:
    """Remove a temporary file and its folder."""
    shutil.rmtree(file.parent)
