"""From the values of a mask file to the network's classes, strictly."""

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from ..study import RefusedError

SHOWN = 5


class MapLabelsd(MapTransform):
    """Replaces the values of masks by classes; a value that has no class is refused, never passed on.

    Args:
        keys: keys of masks (C, X, Y[, Z]) that were read; several channels must be equal, as in a grey mask
            that was saved in colour.
        num_classes: with the background.
        label_map: class of each value, ``{"0": 0, "255": 1}``; ``{"above": 127}`` puts everything above into
            class 1, of whole numbers (of any with ``{"above": 0.5}``); None: the values are the classes.
    """

    def __init__(
        self, keys: KeysCollection, num_classes: int, label_map: Mapping[str, int] | None = None
    ) -> None:
        super().__init__(keys)
        if label_map is None:
            label_map = {str(value): value for value in range(num_classes)}
        self.threshold = label_map.get("above")
        self.table = {int(value): label for value, label in label_map.items() if value != "above"}
        if (self.threshold is None) != bool(self.table) or not set(self.table.values()) <= set(
            range(num_classes)
        ):
            raise ValueError(
                f"label_map must be {{'above': number}} or give values classes below {num_classes}, got {label_map!r}"
            )

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replaces the masks by classes (1, X, Y[, Z]).

        Raises:
            RefusedError: naming the mask and the values that have no class.
        """
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self._classes(one_channel(result[key]))
        return result

    def _classes(self, mask: Any) -> torch.Tensor:
        if self.threshold is not None:
            self._refuse_resampled(mask)
            return (mask > self.threshold).to(torch.int16)
        plain = mask.as_tensor()
        classes, known = torch.zeros_like(plain), torch.zeros_like(plain, dtype=torch.bool)
        for value, label in self.table.items():
            there = plain == value
            classes[there] = label
            known |= there
        if not known.all():
            strange = plain[~known].unique().tolist()
            more = f" and {len(strange) - SHOWN} more" if len(strange) > SHOWN else ""
            lossy = more and set(self.table.values()) == {0, 1}
            advice = ', or {"above": 127} for one label in masks saved with loss' if lossy else ""
            raise RefusedError(
                f"{mask.meta['filename_or_obj']}: the mask holds {', '.join(f'{v:g}' for v in strange[:SHOWN])}"
                f"{more}, expected {', '.join(map(str, sorted(self.table)))}; correct the mask, or the values that "
                f"are declared (labels in dataset.json, label_map in a task{advice})"
            )
        return MetaTensor(classes, meta=mask.meta)

    def _refuse_resampled(self, mask: Any) -> None:
        """Above a whole number lie whole numbers: what lies between was resampled as if it were intensities."""
        if isinstance(self.threshold, float) or not (mask.is_floating_point() or mask.is_signed()):
            return
        strange = mask[(mask < 0) | (mask != mask.floor())]
        if len(strange):
            raise RefusedError(
                f"{mask.meta['filename_or_obj']}: the mask holds {strange[0]:g}, expected whole numbers from 0; resample "
                f"masks with nearest neighbours, or give label_map as {{'above': {self.threshold}.0}} where such values "
                "are meant"
            )


def one_channel(mask: Any) -> Any:
    """A mask (C, …) that was read, with one channel.

    Raises:
        RefusedError: its channels differ.
    """
    if not (mask[:1] == mask).all():
        raise RefusedError(
            f"{mask.meta['filename_or_obj']}: the mask's {mask.shape[0]} colour channels differ; save it as grey, "
            "one value a label (of a palette its indices, not its colours)"
        )
    return mask[:1]
