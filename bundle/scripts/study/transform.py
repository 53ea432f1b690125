"""The transform that loads cases in MONAI configs."""

from collections.abc import Hashable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from .case import Case, RefusedError
from .find import find_cases
from .fitness import Mode, check_rules, judge, with_channels
from .grid import check_same_grid, check_turned_alike
from .limits import Limits, limits_of
from .read import Warnings, read_case


class LoadStudyd(MapTransform):
    """Loads the case, or the file or folder that holds exactly one case, under each key.

    Args:
        keys: keys of a :class:`Case` or a path.
        source_key: where to put what was read under the first key once more, without a copy of the voxels.
        allow_missing_keys: pass over keys that are absent.
        limits: caps on untrusted input, a :class:`Limits` or its arguments.
        channels: that the first key's image must have; None: any number.
        grey_as_colour: see :func:`with_channels`.
    """

    def __init__(
        self,
        keys: KeysCollection,
        source_key: str | None = None,
        allow_missing_keys: bool = False,
        limits: Limits | Mapping[str, Any] | None = None,
        channels: int | None = None,
        grey_as_colour: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.source_key = source_key
        self.grey_as_colour = grey_as_colour
        self.limits = limits if isinstance(limits, Limits) else limits_of(limits)
        self.channels = channels

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replaces every case by its voxels.

        Raises:
            RefusedError: an input is not fit, has other channels, or two of them do not lie on one grid.
        """
        result = dict(data)
        first: MetaTensor | None = None
        for key in self.key_iterator(result):
            try:
                image = read_case(self._case(result[key]), self.limits)
                if first is None:
                    first = image = with_channels(image, self.channels, self.grey_as_colour)
                else:
                    check_same_grid(first, image)
                    if key == "label":
                        check_turned_alike(first, image)
            except RefusedError as error:
                if self.keys == ("image",):
                    raise
                raise RefusedError(f"{key} {error}") from None  # an image and its label may have one name
            result[key] = image
        if self.source_key is not None and first is not None:
            result[self.source_key] = _same_voxels(first)
        return result

    def _case(self, item: Any) -> Case:
        if isinstance(item, Case):
            return item
        if not isinstance(item, str | Path):
            raise RefusedError(f"expected a Case or a path, received {type(item).__name__}")
        return single_case(item, self.limits)


class JudgeFitnessd(MapTransform):
    """Compares what was read with what the task was trained on; its warnings join ``meta["warnings"]``.

    Args:
        keys: keys of images that were read.
        rules: see :func:`judge`.
        mode: see :func:`judge`.
        allow_missing_keys: pass over keys that are absent.
        channels: that an image must have whatever the mode; None: any number.
        grey_as_colour: see :func:`with_channels`.
    """

    def __init__(
        self,
        keys: KeysCollection,
        rules: Mapping[str, Any],
        mode: Mode = "refuse",
        allow_missing_keys: bool = False,
        channels: int | None = None,
        grey_as_colour: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        check_rules(rules, mode)
        self.grey_as_colour = grey_as_colour
        self.rules = rules
        self.mode = mode
        self.channels = channels

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Passes the images on, a grey picture perhaps as colour.

        Raises:
            RefusedError: see :func:`judge` and :func:`with_channels`.
        """
        result = dict(data)
        for key in self.key_iterator(result):
            found = judge(result[key], self.rules, self.mode)
            result[key] = image = with_channels(result[key], self.channels, self.grey_as_colour)
            image.meta["warnings"] = Warnings([*image.meta.get("warnings", []), *found])
        return result


def _same_voxels(image: MetaTensor) -> MetaTensor:
    """The same memory under meta data of its own, which transforms of the other do not change."""
    return MetaTensor(image.as_tensor(), affine=image.affine.clone(), meta=deepcopy(image.meta))


def single_case(path: str | Path, limits: Limits) -> Case:
    """The one case of a file or folder.

    Raises:
        RefusedError: it holds none, several or an unfit one.
    """
    found = find_cases(path, limits=limits)
    if found.refused:
        raise RefusedError(found.refused[0][1])
    if len(found.cases) != 1:
        names = ", ".join(case.input for case in found.cases[:5])
        raise RefusedError(f"expected one case, found {len(found.cases)}: {names}; give one of them")
    return found.cases[0]
