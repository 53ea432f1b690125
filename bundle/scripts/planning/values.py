"""Which classes the values of a data set's masks stand for."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from ..study import Limits, LoadStudyd
from ..training import Pair, one_channel

MOST_CLASSES = 255  # that results can hold
MOST_LABELS = 32  # more distinct values are objects that are numbered, or a mask saved with loss
FEWEST_GREYS = 8  # between black and white: fewer may be labels
STRAY = 1e-4  # of what is labelled: too little to be seen for
NOISE = 4  # how far from 0 and 255 some values lie wherever JPEG was
EXTREME = 32  # how far from 0 and 255 the values of a two-valued mask lie after JPEG
RIM = 0.9  # of the greys of a mask that was resized lie where white meets black


@dataclass(frozen=True)
class Mask:
    """What a mask holds.

    Attributes:
        name: of its file.
        count: voxels by value.
        rim: voxels that are neither 0 nor 255, and touch both.
        edge: the value that most of the voxels along its edges have.
    """

    name: str
    count: Mapping[int, int]
    rim: int
    edge: int


@dataclass(frozen=True)
class Classes:
    """What the values of the masks become.

    Attributes:
        names: of class 1, 2, ….
        label_map: see :class:`scripts.training.MapLabelsd`.
        reason: why.
    """

    names: tuple[str, ...]
    label_map: dict[str, int] | None
    reason: str


BLACK_AND_WHITE = Classes(
    ("label 1",),
    {"above": 127},
    "black and white with the noise of JPEG or of resizing: above 127 is the one label",
)


def first(words: Sequence[str]) -> str:
    """The first few of a list."""
    return ", ".join(words[:5]) + (", …" if len(words) > 5 else "")


def values_in(pair: Pair, limits: Limits) -> Mask:
    """What a pair's mask holds.

    Raises:
        RefusedError: the mask is unreadable, in several colours, or holds values that are not whole.
    """
    mask = one_channel(LoadStudyd("label", limits=limits)({"label": str(pair.label)})["label"])[0].numpy()
    values, counts = np.unique(mask, return_counts=True)
    if not np.array_equal(values, np.floor(values)) or values[0] < 0:
        strange = next(value for value in values if value < 0 or value != np.floor(value))
        raise ValueError(
            f"{pair.label.name}: the mask holds {strange:g}, expected whole numbers from 0; save it as such, rounded if "
            "a scale made them so"
        )
    count = dict(zip(values.astype(int).tolist(), counts.tolist(), strict=True))
    rim = _rim(mask) if {0, 255} < count.keys() else 0
    return Mask(pair.label.name, count, rim, _edge(mask))


def _edge(mask: np.ndarray) -> int:
    """The value that most of the voxels along a mask's edges have; of a volume, along those of its slices."""
    sides = [mask[0], mask[-1], mask[:, 0], mask[:, -1]]
    values, counts = np.unique(np.concatenate([side.reshape(-1) for side in sides]), return_counts=True)
    return int(values[counts.argmax()])


def _rim(mask: np.ndarray) -> int:
    """Voxels that are neither black nor white, and touch both by a face, an edge or a corner."""
    black, white = mask == 0, mask == 255
    around = np.ones((3,) * mask.ndim)
    beside = ndimage.binary_dilation(black, around) & ndimage.binary_dilation(white, around)
    return int(np.count_nonzero(beside & ~black & ~white))


def classes_of(
    found: Sequence[Mask], declared: Mapping[int, str] | None, lossy: str | None = None
) -> Classes:
    """Choose the classes.

    Args:
        found: what each mask holds.
        declared: names by value, where the data set gives them.
        lossy: a mask of a format that changes values (JPEG); black and white alone survive that.

    Raises:
        ValueError: the values look like nothing that could be mapped.
    """
    chosen = _classes(found, declared, lossy)
    value, count = Counter(mask.edge for mask in found).most_common(1)[0]
    if not value or count <= len(found) / 2:
        return chosen
    doubt = (
        f"; MOST MASKS HOLD {value} ALONG THEIR EDGES, NOT 0: if that is the background, save them with 0 there, and plan "
        "again"
    )
    return replace(chosen, reason=chosen.reason + doubt)


def _classes(found: Sequence[Mask], declared: Mapping[int, str] | None, lossy: str | None) -> Classes:
    """See :func:`classes_of`."""
    masks = [mask.count for mask in found]
    if lossy:
        return _of_lossy(masks, lossy, declared)
    if declared:
        values = sorted(declared)
        return Classes(
            tuple(declared[value] for value in values), _mapped([0, *values]), "as dataset.json declares them"
        )
    values = sorted({value for mask in masks for value in mask} - {0})
    if not values:
        raise ValueError("every mask is empty: there is nothing to learn")
    if not any(0 in mask for mask in masks):
        raise ValueError(
            f"no mask holds 0, which is the background: they hold {', '.join(map(str, values[:5]))}; save them with 0 "
            "where nothing is labelled"
        )
    return _undeclared(found, values)


def _undeclared(found: Sequence[Mask], values: Sequence[int]) -> Classes:
    """Classes by the values above 0 alone; see :func:`classes_of`."""
    masks = [mask.count for mask in found]
    if len(values) == 1:
        words = f"every mask holds 0 and {values[0]}: background and the one label"
        return Classes(("label 1",), _mapped([0, *values]), words)
    if (values == [1, 255] or values[0] >= 255 - NOISE) and all(len(mask.keys() - {0}) < 2 for mask in masks):
        words = f"each mask holds 0 and one of {', '.join(map(str, values))}: one label"
        return Classes(("label 1",), {"above": 0}, words)
    if _is_rimmed(found, values):
        return BLACK_AND_WHITE
    if len(values) <= MOST_LABELS and not _is_soft(masks, values) and not _is_noisy(masks, values):
        words = f"the masks hold 0, {', '.join(map(str, values))}: a label each; name them under labels"
        if _are_counted(masks) and len({len(mask) for mask in masks}) > 2:
            words += "; if they number objects, save masks of 0 and 1, and plan again"
        words += _slips(found, values)
        return Classes(tuple(f"label {i + 1}" for i in range(len(values))), _mapped([0, *values]), words)
    if _are_counted(masks):
        return _of_numbered(masks, values)
    if (known := _black_and_white(masks, values)) is not None:
        return known
    raise ValueError(
        f"the masks hold {len(values)} values up to {values[-1]}, neither a few labels, nor objects numbered from 1, "
        "nor black and white; declare the labels in dataset.json, or save masks with one value a label"
    )


def _slips(found: Sequence[Mask], values: Sequence[int]) -> str:
    """A remark on values that a single mask holds, of hardly any voxels, as 421 beside 420."""
    labelled = sum(count for mask in found for value, count in mask.count.items() if value)
    holding = {value: [mask for mask in found if value in mask.count] for value in values}
    slips = [
        f"{value} ({masks[0].name}, {masks[0].count[value]} voxels)"
        for value, masks in holding.items()
        if len(masks) == 1 < len(found) and masks[0].count[value] < STRAY * labelled
    ]
    return f"; IF {first(slips)} IS A SLIP, correct it, and plan again" if slips else ""


def _are_counted(masks: Sequence[Mapping[int, int]]) -> bool:
    """Whether each mask holds all values from 1 to its highest."""
    return all(sorted(mask.keys() - {0}) == list(range(1, len(mask.keys() - {0}) + 1)) for mask in masks)


def _of_numbered(masks: Sequence[Mapping[int, int]], values: Sequence[int]) -> Classes:
    """One class of objects, whose number differs from mask to mask; a class each of values that most masks hold."""
    counts = [len(mask.keys() - {0}) for mask in masks]
    if counts.count(len(values)) <= (len(counts) - counts.count(0)) / 2:  # empty masks say nothing
        words = "each mask numbers its objects from 1: everything above 0 is the one label"
        return Classes(("label 1",), {"above": 0}, words)
    if len(values) > MOST_CLASSES:
        raise ValueError(
            f"most masks hold the values 1 to {values[-1]}, more than {MOST_CLASSES} labels: join some of them"
        )
    words = (
        f"most masks hold all values from 1 to {values[-1]}: a label each; name them under labels, or give "
        '{"above": 0} if they number objects'
    )
    return Classes(tuple(f"label {value}" for value in values), _mapped([0, *values]), words)


def _of_lossy(masks: Sequence[Mapping[int, int]], name: str, declared: Mapping[int, str] | None) -> Classes:
    """One class of masks whose values are not those that were saved, by its declared name where it has one."""
    found = _black_and_white(masks, sorted({value for mask in masks for value in mask}))
    if found is None:
        raise ValueError(
            f"{name}: JPEG changes values, and these are not black and white: save the masks as PNG"
        )
    if len(declared or ()) > 1:
        raise ValueError(
            f"{name}: JPEG changes values, and these cannot hold the {len(declared or ())} labels of dataset.json: save "
            "the masks as PNG"
        )
    return replace(found, names=tuple(declared.values())) if declared else found


def _is_soft(masks: Sequence[Mapping[int, int]], values: Sequence[int]) -> bool:
    """Whether the values are black, white, and fewer of many greys between, as a mask that was resized holds."""
    greys = [value for value in values if EXTREME < value < 255 - EXTREME]
    grey, white = (sum(mask.get(value, 0) for mask in masks for value in some) for some in (greys, [255]))
    return len(greys) >= FEWEST_GREYS and grey < min(white, 0.05 * sum(sum(mask.values()) for mask in masks))


def _is_rimmed(masks: Sequence[Mask], values: Sequence[int]) -> bool:
    """Whether greys lie between black and white, and nowhere else, that are means of 4 or 8: of a halved mask."""
    greys = [value for value in values if value < 255]
    grey = sum(mask.count.get(value, 0) for mask in masks for value in greys)
    means = all(
        abs(value - round(value * 8 / 255) * 255 / 8) <= 1 <= round(value * 8 / 255) for value in greys
    )
    return len(greys) > 1 and means and values[-1] == 255 and sum(mask.rim for mask in masks) >= RIM * grey


def _is_noisy(masks: Sequence[Mapping[int, int]], values: Sequence[int]) -> bool:
    """Whether the values lie around black and around white, as those that JPEG had at its best quality do."""
    count = sum((Counter(mask) for mask in masks), Counter[int]())
    whites = {value: count[value] for value in values if 255 - NOISE <= value <= 255}
    others = sum(count[value] for value in values) - max(whites.values(), default=0)
    return len(whites) > 1 and 0 < values[0] <= NOISE and others < max(whites.values())


def _black_and_white(masks: Sequence[Mapping[int, int]], values: Sequence[int]) -> Classes | None:
    """One class of what is white, give or take the noise of compression; None where greys are more than that."""
    total = sum(sum(mask.values()) for mask in masks)
    clear = sum(
        count
        for mask in masks
        for value, count in mask.items()
        if value <= EXTREME or 255 - EXTREME <= value <= 255
    )
    if not 255 - EXTREME <= values[-1] <= 255 or clear / total <= 0.95:
        return None
    return BLACK_AND_WHITE


def _mapped(values: Sequence[int]) -> dict[str, int] | None:
    """Consecutive classes for ascending values, None where they are it already."""
    if list(values) == list(range(len(values))):
        return None
    return {str(value): label for label, value in enumerate(values)}
