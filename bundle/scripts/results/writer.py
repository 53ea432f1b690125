"""Everything that is written of one case, in its own folder, whole or not at all."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .. import __version__
from ..cores import cores
from ..study.case import Case
from .agreement import write_uncertainty
from .labels import Label
from .manifest import Manifest
from .measurements import measure, rounded
from .nifti import affine_of, as_labels, form_of, write_image, write_nifti, write_picture
from .preview import preview
from .report import SHEET
from .seg import write_seg
from .segframes import slices_first
from .sheet import slice_sheet
from .sr import write_sr
from .staging import case_folder, explained, refuse_foreign, staged

SegKind = Literal["binary", "labelmap", "off"]
SEG = "segmentation.dcm"
_MOST_THREADS = 4
_VOXELS_AT_ONCE = 2**27


class ResultsWriter:
    """Writes the results of one case after another under an output folder.

    Args:
        output_dir: where the case folders go; made if it does not exist.
        labels: the table of the task's labels.
        save_image: also write the image as it was read.
        seg: kind of DICOM SEG for DICOM input; ``"labelmap"`` is smaller, but older readers refuse it.
        sr: also write the measurements as a DICOM SR (needs a SEG, to which it refers).
        deidentify: replace the patient's identity in SEG and SR.
        seg_all_slices: keep the empty frames of a binary SEG, for readers that count on them (MONAI's).
        provenance: as for ``Manifest``.
        manifest: the folder's manifest, so that the row of an earlier result goes before its files do.
    """

    def __init__(
        self,
        output_dir: Path | str,
        labels: Sequence[Label],
        *,
        save_image: bool = False,
        seg: SegKind = "binary",
        sr: bool = False,
        deidentify: bool = False,
        seg_all_slices: bool = False,
        provenance: Mapping[str, str] | None = None,
        manifest: Manifest | None = None,
    ) -> None:
        if seg not in ("binary", "labelmap", "off"):
            raise ValueError(f"seg must be 'binary', 'labelmap' or 'off', got {seg!r}")
        if sr and seg == "off":
            raise ValueError("sr=True needs a SEG to refer to, got seg='off'")
        if not labels:
            raise ValueError(f"expected at least one label, got {labels!r}")
        self.output_dir = Path(output_dir)
        self.labels = tuple(labels)
        self.save_image = save_image
        self.seg: SegKind = seg
        self.sr = sr
        self.seg_all_slices = seg_all_slices
        self.model_sha256 = dict(provenance or {}).get("model_sha256", "")
        self._of_dicom: dict[str, Any] = {"deidentify": deidentify, "model_sha256": self.model_sha256}
        self._manifest = manifest

    def write(
        self,
        case: Case,
        image: Any,
        labels: Any,
        *,
        seconds: float = 0.0,
        input_sha256: str = "",
        warnings: Iterable[str] = (),
        uncertainty: Any = None,
        agreement: Mapping[int, float | None] | None = None,
    ) -> tuple[str, ...]:
        """Write one case's folder.

        Args:
            case: what was segmented.
            image: MetaTensor (C, X, Y, Z) with a RAS affine, or a picture (C, X, Y), as it was read.
            labels: whole numbers (1, X, Y, Z) or (1, X, Y) on the same grid.
            seconds: how long the case took so far, for measurements.json.
            input_sha256: hash of the input's files, for measurements.json.
            warnings: notices of the reader, for measurements.json.
            uncertainty: map of the disagreement of several passes, (1, X, Y, Z) or (1, X, Y), from 0 to 1;
                written beside the mask in per cent.
            agreement: how far several passes agree on each label, by value, from 0 to 1, as
                ``expected_dice`` gives it.

        Returns:
            The files written, relative to the output folder, with POSIX separators.

        Raises:
            ValueError: the mask does not fit the image or the label table, the case id is unsafe, or its folder
                holds what no run wrote.
            OSError: the output is full or read-only, or a source file vanished. The folder of the case is
                then as it was before, and no other is touched.
        """
        try:
            self.output_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise explained(error) from None
        folder = case_folder(self.output_dir, case.case_id)
        refuse_foreign(folder)
        account = {
            "case_id": case.case_id,
            "kind": case.kind,
            "input_sha256": input_sha256,
            "model_sha256": self.model_sha256,
            "version": __version__,
            "seconds": round(seconds, 3),
            "warnings": list(warnings),
        }
        mask = as_labels(labels, image.ndim - 1)
        if mask.ndim == 3:
            mask = slices_first(mask).transpose(2, 1, 0)  # what follows goes slice by slice
        with staged(folder) as partial, ThreadPoolExecutor(_threads(mask.size)) as pool:
            writing = {
                name: pool.submit(write, partial / name)
                for name, write in self._files(case, image, mask, uncertainty).items()
            }
            rows = measure(mask[None], image, self.labels, pool.map)
            for file in writing.values():
                file.result()
            names = [name for name in writing if name != SHEET]
            account["labels"] = [
                row | {"agreement": rounded((agreement or {}).get(row["label"]))} for row in rows
            ]
            names.append("measurements.json")
            _write_json(account, partial / names[-1], indent=1)
            if self.sr and SEG in names:
                names.append("measurements.dcm")
                write_sr(
                    rows,
                    case,
                    self.labels,
                    partial / SEG,
                    partial / names[-1],
                    affine=affine_of(image),
                    shape=mask.shape,
                    **self._of_dicom,
                )
            if self._manifest and folder.exists():
                self._manifest.forget(case.case_id)
        return tuple(f"{case.case_id}/{name}" for name in names)

    def _files(
        self, case: Case, image: Any, mask: np.ndarray, uncertainty: Any
    ) -> dict[str, Callable[[Path], None]]:
        """What writes each file of a case, by its name; none needs another."""
        picture, form = mask.ndim == 2, form_of(image)
        affine = None if picture else affine_of(image)
        suffix = ".png" if picture else ".nii.gz"
        files: dict[str, Callable[[Path], None]] = {
            f"segmentation{suffix}": lambda path: (
                write_picture(mask, path) if affine is None else write_nifti(mask, affine, path, form=form)
            )
        }
        if case.kind == "dicom" and affine is not None and self.seg != "off":
            files[SEG] = lambda path: write_seg(
                mask[None],
                case,
                self.labels,
                path,
                affine=affine,
                labelmap=self.seg == "labelmap",
                all_slices=self.seg_all_slices,
                **self._of_dicom,
            )
        files["preview.png"] = lambda path: preview(image, mask[None], self.labels, path)
        files[SHEET] = lambda path: _write_json(slice_sheet(image, mask[None], self.labels), path)
        if self.save_image:
            files[f"image{suffix}"] = lambda path: write_image(image, path)
        if uncertainty is not None:
            files[f"uncertainty{suffix}"] = lambda path: write_uncertainty(
                uncertainty, affine, path, form=form
            )
        return files


def _threads(voxels: int) -> int:
    """How many threads write a case: each may hold a copy of a large mask."""
    return max(1, min(_MOST_THREADS, cores(), _VOXELS_AT_ONCE // max(1, voxels)))


def _write_json(content: Any, path: Path, indent: int | None = None) -> None:
    text = json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
