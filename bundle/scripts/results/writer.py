"""Everything that is written of one case, in its own folder, whole or not at all."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .. import __version__
from ..study.case import Case
from .labels import Label
from .manifest import Manifest
from .measurements import Measurement, measure, rounded
from .nifti import affine_of, as_labels, write_image, write_nifti, write_picture
from .report import SHEET
from .segframes import slices_first
from .staging import case_folder, explained, staged

SegKind = Literal["binary", "labelmap", "off"]


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
        self.deidentify = deidentify
        self.seg_all_slices = seg_all_slices
        self.model_sha256 = dict(provenance or {}).get("model_sha256", "")
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
            ValueError: the mask does not fit the image or the label table, or the case id is unsafe.
            OSError: the output is full or read-only, or a source file vanished. The folder of the case is
                then as it was before, and no other is touched.
        """
        try:
            self.output_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise explained(error) from None
        folder = case_folder(self.output_dir, case.case_id)
        account = {
            "case_id": case.case_id,
            "kind": case.kind,
            "input_sha256": input_sha256,
            "model_sha256": self.model_sha256,
            "version": __version__,
            "seconds": round(seconds, 3),
            "warnings": list(warnings),
            "labels": [
                row | {"agreement": rounded((agreement or {}).get(row["label"]))}
                for row in measure(labels, image, self.labels)
            ],
        }
        with staged(folder) as partial:
            names = self._write_files(partial, case, image, labels, account)
            if uncertainty is not None:
                names.append(self._write_uncertainty(partial, image, uncertainty))
            if self._manifest and folder.exists():
                self._manifest.forget(case.case_id)
        return tuple(f"{case.case_id}/{name}" for name in names)

    def _write_files(
        self, folder: Path, case: Case, image: Any, labels: Any, account: Mapping[str, Any]
    ) -> list[str]:
        from .preview import preview
        from .slices import slice_sheet

        mask = as_labels(labels, image.ndim - 1)
        picture = mask.ndim == 2
        if not picture:
            mask = slices_first(mask).transpose(2, 1, 0)  # what follows goes slice by slice
        names = ["segmentation.png" if picture else "segmentation.nii.gz"]
        if picture:
            write_picture(mask, folder / names[0])
        else:
            write_nifti(mask, affine_of(image), folder / names[0], code=_nifti_code(image))
        if case.kind == "dicom" and not picture and self.seg != "off":
            names += self._write_dicom(folder, case, affine_of(image), mask, account["labels"])
        preview(image, mask[None], self.labels, folder / "preview.png")
        _write_json(account, folder / "measurements.json", indent=1)
        _write_json(slice_sheet(image, mask[None], self.labels), folder / SHEET)
        names += ["preview.png", "measurements.json"]
        if self.save_image:
            names.append("image.png" if picture else "image.nii.gz")
            write_image(image, folder / names[-1], code=_nifti_code(image))
        return names

    def _write_dicom(
        self, folder: Path, case: Case, affine: np.ndarray, mask: np.ndarray, rows: Sequence[Measurement]
    ) -> list[str]:
        from .seg import write_seg

        names = ["segmentation.dcm"]
        write_seg(
            mask[None],
            case,
            self.labels,
            folder / names[0],
            affine=affine,
            labelmap=self.seg == "labelmap",
            all_slices=self.seg_all_slices,
            deidentify=self.deidentify,
            model_sha256=self.model_sha256,
        )
        if self.sr:
            from .sr import write_sr

            names.append("measurements.dcm")
            write_sr(
                rows,
                case,
                self.labels,
                folder / names[0],
                folder / names[1],
                affine=affine,
                shape=mask.shape,
                deidentify=self.deidentify,
                model_sha256=self.model_sha256,
            )
        return names

    def _write_uncertainty(self, folder: Path, image: Any, uncertainty: Any) -> str:
        from .agreement import write_uncertainty

        name = "uncertainty.png" if image.ndim == 3 else "uncertainty.nii.gz"
        affine = None if image.ndim == 3 else affine_of(image)
        write_uncertainty(uncertainty, affine, folder / name, code=_nifti_code(image))
        return name


def _write_json(content: Any, path: Path, indent: int | None = None) -> None:
    text = json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _nifti_code(image: Any) -> int:
    """The source's NIfTI form code where it has one, else 1 (scanner)."""
    meta = getattr(image, "meta", {})
    for key in ("sform_code", "qform_code"):
        code = int(meta.get(key, 0))
        if 1 <= code <= 4:
            return code
    return 1
