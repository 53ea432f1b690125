"""The settings that follow from a data set's fingerprint, each with its reason."""

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..slices import in_plane
from .fingerprint import Facts
from .values import STRAY, first

ANISOTROPIC = 2.0  # slices thicker than so many pixels are shown in their own plane only
FEW_SLICES = 0.25  # of the slices' width: too few to be looked at from the side
NEAR = 3.0  # neighbours farther apart than so many pixels show something else
STRIDE = 32  # of the network's deepest stage
SMALLEST_PATCH, LARGEST_PATCH = 64, 256
THINNEST = 3.0  # pixels that shrinking leaves of a thin structure: of fewer, parts vanish
ROOM = 1.5  # of a patch over the labels' extent
BYTES_PER_PIXEL = 4096  # of a training step: 2.6 KB of activations measured, weights, gradients, margin
PIXELS_PER_STEP = 32 * 96 * 96  # of the default task
STEPS = 4000
SINGLE = 0.95  # of the cases that hold a label: in so many it is in one piece
SCORES = 2 * 2**30  # bytes that averaging several planes may hold


class Choice(NamedTuple):
    """A setting's value, and why."""

    value: Any
    reason: str


def rounded(value: float, digits: int) -> float:
    """To so many significant digits."""
    return float(f"{value:.{digits}g}")


def median(values: Sequence[Any]) -> np.ndarray:
    """The median over cases, one for each axis or channel."""
    return np.median(np.asarray(values, dtype=float), axis=0)


def viewing(facts: Sequence[Facts], classes: int) -> dict[str, Choice]:
    """planes and context: from where a volume is looked at."""
    if len(facts[0].shape) == 2:
        return {"planes": Choice([2], "pictures"), "context": Choice(0, "pictures have no neighbours")}
    spacing, shape = median([one.spacing for one in facts]), median([one.shape for one in facts])
    stacked = [_stacking_axis(one) for one in facts]
    axis = int(np.bincount(stacked, minlength=3).argmax())
    ratio = spacing[axis] / min(in_plane(spacing.tolist(), axis))
    others = _remark_on([one.case for one in facts if stacked_otherwise(one, axis)])
    few = _are_few(shape.tolist(), axis)
    scores = 4 * classes * float(np.prod(shape))
    size = (
        " x ".join(f"{n:g}" for n in shape)
        + " voxels of "
        + " x ".join(f"{mm:.3g}" for mm in spacing)
        + " mm"
    )
    near = Choice(1, f"each slice with its two neighbours, {ratio:.2g} pixels away")
    far = Choice(0, f"neighbours lie {ratio:.2g} pixels away" + (", and slices are few" if few else ""))
    context = far if few or ratio > NEAR else near
    if few or ratio > ANISOTROPIC:
        return {
            "planes": Choice([axis], f"{size}: thick or few slices, their own plane only{others}"),
            "context": context,
        }
    if scores > SCORES:
        return {
            "planes": Choice([axis], f"{size}: too large to average three planes{others}"),
            "context": context,
        }
    return {
        "planes": Choice([0, 1, 2], f"{size}: about equal along the axes, three planes"),
        "context": context,
    }


def _stacking_axis(one: Facts) -> int:
    """The axis that a volume's slices are stacked along.

    It is the thickest one, and of those equally thick to two digits that with the fewest slices; where none is thick that
    with few slices, and always that of a single one, whose thickness is often nobody's.
    """
    fewest = min(range(3), key=lambda i: (one.shape[i], -i))
    thickest = max(range(3), key=lambda i: (rounded(one.spacing[i], 2), -one.shape[i], i))
    few = _are_few(one.shape, fewest) and not _is_thick(one, thickest)
    return fewest if few or one.shape[fewest] == 1 else thickest


def _are_few(shape: Sequence[float], axis: int) -> bool:
    """Whether there are few slices across an axis for their smaller side; a long volume has few across none."""
    return shape[axis] < FEW_SLICES * min(in_plane(shape, axis))


def _is_thick(one: Facts, axis: int) -> bool:
    """Whether a volume's slices across an axis are much thicker than their pixels."""
    return one.spacing[axis] > ANISOTROPIC * min(in_plane(one.spacing, axis))


def stacked_otherwise(one: Facts, axis: int) -> bool:
    """Whether a volume's slices are thick, and stacked along another axis."""
    own = _stacking_axis(one)
    return own != axis and _is_thick(one, own)


def _remark_on(cases: Sequence[str]) -> str:
    """A remark on cases whose thick slices lie across another axis than most."""
    return f"; {len(cases)} stacked another way ({first(cases)}): take them out" if cases else ""


def picture_grid(facts: Sequence[Facts]) -> dict[str, Choice]:
    """spacing and roi_size of pictures."""
    side = float(np.median([max(one.shape) for one in facts]))
    large = _by_area([n for one in facts for n in one.objects])
    thin = _thinnest(facts)
    fits = side / LARGEST_PATCH if large > LARGEST_PATCH / 2 else 1.0
    shrink = min(fits, thin / THINNEST)
    if shrink > 1.01:
        until = f"a picture of {side:.0f} fits" if shrink == fits else f"that is {THINNEST:g}"
        shrink = rounded(shrink, 3)
        words = f"objects up to {large:.0f} pixels, {rounded(thin, 2):g} thick: shrunk until {until}"
        spacing = Choice(shrink, words)
    else:
        words = f"nine tenths of what is labelled in objects up to {large:.0f}, {rounded(thin, 2):g} thick"
        shrink, spacing = 1.0, Choice(None, f"pixels as they are: {words}")
    roi = _patch(side / shrink, side / shrink)
    return {
        "spacing": spacing,
        "roi_size": Choice([roi, roi], f"for {side / shrink:.0f} pixels, at most 256"),
    }


def _by_area(objects: Sequence[int]) -> float:
    """The side that objects which make up nine tenths of the area do not exceed: crumbs count for little."""
    sides = np.sort(np.asarray(objects, float))
    covered = np.cumsum(sides**2)
    return float(sides[np.searchsorted(covered, 0.9 * covered[-1])])


def _thinnest(facts: Sequence[Facts]) -> float:
    """The pixels that the thinnest label is thick, each by the median of the cases that hold it; but for strays."""
    voxels = np.sum([one.voxels for one in facts], axis=0)
    labels = [value for value in range(1, len(voxels)) if voxels[value] > STRAY * voxels[1:].sum()]
    return min(
        float(np.median([one.thickness[value] for one in facts if value in one.thickness]))
        for value in labels
    )


def volume_grid(facts: Sequence[Facts], planes: Sequence[int]) -> dict[str, Choice]:
    """spacing and roi_size of volumes."""
    within = [in_plane(one.spacing, axis) for one in facts for axis in planes]
    target = rounded(float(np.median(within)), 3)
    spacing = Choice(target, f"the median within the slices, {np.min(within):.3g} to {np.max(within):.3g} mm")
    slices = median([_sides(one, one.shape, planes, target) for one in facts])
    extents = [_sides(one, one.extent, planes, target) for one in facts if one.extent]
    labels = np.percentile(extents, 95, axis=0)
    roi = [_patch(n, ROOM * extent) for n, extent in zip(slices, labels, strict=True)]
    words = f"the labels span {labels[0]:.0f} x {labels[1]:.0f} of {slices[0]:.0f} x {slices[1]:.0f} pixels"
    return {"spacing": spacing, "roi_size": Choice(roi, words)}


def _sides(one: Facts, size: Sequence[int], planes: Sequence[int], target: float) -> np.ndarray:
    """The two sides, in the network's pixels, of ``size`` as a slice shows it; of several planes the largest."""
    sides = (
        np.array([np.multiply(in_plane(one.spacing, axis), in_plane(size, axis)) for axis in planes]) / target
    )
    return sides[0] if len(planes) == 1 else np.full(2, sides.max())


def _patch(available: float, wanted: float) -> int:
    """A side of the patch: what is wanted, as far as there is so much, in whole steps of the network."""
    pixels = math.ceil(min(available, wanted) / STRIDE) * STRIDE
    return min(max(pixels, SMALLEST_PATCH), LARGEST_PATCH)


def batches(
    facts: Sequence[Facts], roi_size: Sequence[int], spacing: float | None, training: int, memory: int
) -> dict[str, Choice]:
    """What a step takes, and how many there are.

    Args:
        facts: of the cases.
        roi_size: of a patch.
        spacing: of the network.
        training: how many cases train.
        memory: bytes at hand.
    """
    area = roi_size[0] * roi_size[1]
    wanted = min(max(PIXELS_PER_STEP // area, 4), 32)
    fits = max(1, int(memory / 2 / BYTES_PER_PIXEL / area))
    patches = min(wanted, fits)
    samples = 4
    if len(facts[0].shape) == 2:
        pixels = float(np.median([np.prod(one.shape) for one in facts])) / (spacing or 1.0) ** 2
        samples = min(max(round(pixels / area), 1), 4)
    samples = min(samples, patches)
    batch = max(1, min(patches // samples, training))
    epochs = min(max(math.ceil(STEPS / math.ceil(training / batch)), 20), 1000)
    bound = (
        f"half of {memory / 2**30:.0f} GiB holds {fits}"
        if fits < wanted
        else f"{memory / 2**30:.0f} GiB at hand"
    )
    return {
        "batch_size": Choice(batch, f"{batch * samples} patches a step; {bound}"),
        "num_samples": Choice(samples, "patches drawn of a case"),
        "max_epochs": Choice(epochs, f"{epochs * math.ceil(training / batch)} steps over {training} cases"),
        "val_interval": Choice(max(1, epochs // 25), "validated about 25 times"),
        "sw_batch_size": Choice(
            min(max(PIXELS_PER_STEP * 2 // area, 1), 64), "patches at once when it segments"
        ),
    }


def caching(facts: Sequence[Facts], memory: int) -> dict[str, Choice]:
    """cache_rate: how much of the data stays in main memory (``memory`` bytes of it at hand)."""
    needed = sum((4 * one.channels + 2) * float(np.prod(one.shape)) for one in facts)
    rate = min(1.0, math.floor(100 * memory / 2 / needed) / 100)
    words = f"the cases take {needed / 2**30:.1f} GiB of {memory / 2**30:.0f}"
    return {"cache_rate": Choice(rate, words)}


_WORD = re.compile(r"[^\W\d_]+")
# as words for left and right begin in German, French, Spanish, Portuguese, Italian and Latin
_SIDE = re.compile("link|recht|gauche|droit|izquierd|derech|esquerd|direit|sinistr|destr")
_RUN_TOGETHER = re.compile("^(left|right)|(left|right)$")  # as in leftlung and lungright
_NO_SIDES = {
    *("cleft", "leftover", "leftovers", "bright", "upright", "downright", "outright", "birthright"),
    *("linked", "linking", "linkage", "destroyed", "destruction", "destructive"),
}


def _sided(names: Sequence[str]) -> list[str]:
    """Labels of one side of the body, by their names: left or right, or L and R, as word or letter, where both are."""
    words = [
        {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name) + _WORD.findall(name)}
        for name in names
    ]
    both = (
        {"l", "r"},
        {"lh", "rh"},
        {"sin", "dex"},
        {"sin", "dext"},
        {"sinister", "dexter"},
        {"sinistra", "dextra"},
        {"li", "re"},
        {"g", "d"},
        {"izq", "der"},
        {"esq", "dir"},
    )
    one_sided = {"left", "right"}.union(*(pair for pair in both if pair <= set().union(*words)))
    found = [
        name
        for name, each in zip(names, words, strict=True)
        if each & one_sided
        or any(_RUN_TOGETHER.search(word) or _SIDE.match(word) for word in each - _NO_SIDES)
    ]
    return found or [name for name in names if any(_but_for_l_and_r(name, other) for other in names)]


def _but_for_l_and_r(one: str, other: str) -> bool:
    """Whether two names differ in one letter, which is L in one and R in the other (Lhippo and Rhippo)."""
    unlike = [{a, b} for a, b in zip(one.lower(), other.lower(), strict=False) if a != b]
    return len(one) == len(other) and unlike == [{"l", "r"}]


def drawing(facts: Sequence[Facts], names: Sequence[str]) -> dict[str, Choice]:
    """What is drawn, and turned."""
    share = float(np.median([1 - one.voxels[0] / sum(one.voxels) for one in facts]))
    rare = share < 0.1
    sides = _sided(names)
    pictures = len(facts[0].shape) == 2
    turn = (
        Choice(0.5, "pictures are flipped and turned") if pictures else Choice(0.0, "patients lie one way up")
    )
    mirror = Choice(
        0.5,
        "half of the draws are mirrored: no label's name is known to mean left or right, else set it to 0",
    )
    if sides:
        mirror = Choice(0.0, f"left and right differ: {sides[0]!r}")
        turn = Choice(0.0, mirror.reason) if pictures else turn
    return {
        "foreground": Choice(
            0.75 if rare else 0.5, f"{100 * share:.2g} % is labelled: so many draws on a label, all alike"
        ),
        "mirror": mirror,
        "turn": turn,
    }


def cleaning(facts: Sequence[Facts], names: Sequence[str]) -> dict[str, Choice]:
    """keep_largest: the labels of which one piece is kept, each by the cases that hold it."""
    single, several = [], []
    for value, name in enumerate(names, 1):
        whole = [one.in_one_piece[value] for one in facts if value in one.in_one_piece]
        if sum(whole) >= SINGLE * len(whole):
            single.append(value)
        else:
            several.append(f"{name} in {sum(whole)} of {len(whole)} cases")
    if not several:
        pieces = [piece for one in facts for piece in one.in_one_piece.values()]
        words = f"{sum(pieces)} of {len(pieces)} labels are in one piece, of each nearly all"
        return {"keep_largest": Choice(True, words)}
    words = f"in one piece: {first(several)}" + ("; the others always, or nearly" if single else "")
    return {"keep_largest": Choice(single or False, words)}
