"""Reads one case into a MetaTensor."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.utils.enums import MetaKeys, SpaceKeys
from torch.utils.data._utils.collate import default_collate_fn_map

from .case import Case, RefusedError
from .channels import stack
from .dicom import read_dicom
from .limits import DEFAULT_LIMITS, Limits
from .nifti import read_nifti
from .picture import read_picture


def is_flat(array: np.ndarray) -> bool:
    """Whether all values of an image (…, Z) are one; the first plane that holds two answers."""
    return all((plane == array.flat[0]).all() for plane in np.moveaxis(array, -1, 0))


class Warnings(list[str]):
    """Sentences.

    A type of its own, since torch zips plain lists of a batch and fails where their lengths differ. In a batch,
    and after MONAI's decollating, they are one text an image, joined by ``; ``.
    """


def _collate_warnings(batch: Sequence[Warnings], *, collate_fn_map: Any = None) -> list[str]:
    return ["; ".join(one) for one in batch]


default_collate_fn_map[Warnings] = _collate_warnings


def read_case(case: Case, limits: Limits = DEFAULT_LIMITS) -> MetaTensor:
    """Reads a case's voxels.

    Returns:
        (C, X, Y, Z) indexed by channel, column, row and slice with an affine to RAS millimetres, or
        (C, X, Y) for a picture; int16 where every value is a whole number of that range, else float32.
        ``meta["warnings"]`` lists what the reader found worth a warning.

    Raises:
        RefusedError: the case is not fit, whatever the cause.
    """
    if case.kind != "dicom" and len(case.files) > 1:
        return stack(
            [
                read_case(replace(case, files=(file,), input=case.relative(file)), limits)
                for file in case.files
            ]
        )
    meta: dict[str, object] = {}
    affine: np.ndarray = np.eye(4)
    try:
        if case.kind == "dicom":
            array, plan, warnings = read_dicom(case, limits)
            affine, meta["modality"] = plan.affine, plan.modality
        elif case.kind == "nifti":
            array, header, warnings = read_nifti(case, limits)
            affine, meta["sform_code"], meta["flat"] = header.affine, header.code, header.flat
        else:
            array, picture = read_picture(case, limits)
            warnings, meta["exif_orientation"] = [*picture.warnings], picture.orientation
    except RefusedError:
        raise
    except MemoryError:
        raise RefusedError(f"{case.input}: needs more memory than there is; give a smaller image") from None
    except Exception as error:
        raise RefusedError(
            f"{case.input}: cannot be read ({type(error).__name__}); fetch or export it again"
        ) from None
    if is_flat(array):
        warnings = [*warnings, f"all voxels have one value, {array.flat[0]:g}: there is nothing to see"]
    matrix = torch.from_numpy(affine.copy())
    meta |= {
        MetaKeys.ORIGINAL_AFFINE: affine.copy(),
        MetaKeys.SPATIAL_SHAPE: np.asarray(array.shape[1:]),
        MetaKeys.SPACE: SpaceKeys.RAS,
        MetaKeys.ORIGINAL_CHANNEL_DIM: 0,
        "filename_or_obj": case.input,
        "kind": case.kind,
        "warnings": Warnings(warnings),
    }
    return MetaTensor(torch.from_numpy(array), affine=matrix, meta=meta)
