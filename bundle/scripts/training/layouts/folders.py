"""The layout of images in one folder beside masks in another, of equal names."""

import re
from collections import Counter
from pathlib import Path

from ...study.kinds import NIFTI_SUFFIXES, PICTURE_SUFFIXES, stem_of
from .pair import NOT_READ, Layout, Pair, in_order, same_name, shown, visible

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "imagestr")
MASK_FOLDERS = ("masks", "mask", "labels", "label", "labelstr", "segmentations", "annotations", "groundtruth")
PREFIXES = {
    "label": "img",
    "mask": "img",
    "seg": "img",
}  # label0001 beside img0001, as the abdomen challenge has
MASK_SUFFIX = re.compile("[-_](masks?|segmentation|seg|labels?|gt|groundtruth)$", re.IGNORECASE)


def folders(root: Path) -> Layout:
    """Pairs of a folder of images and one of masks; see :func:`read_layout` for its errors."""
    image_folder, mask_folder = _one_folder(root, IMAGE_FOLDERS), _one_folder(root, MASK_FOLDERS)
    images, problems = _by_stem(image_folder)
    masks, more = _by_stem(mask_folder)
    problems += more
    pairs, used = [], Counter[str]()
    for stem, mask in masks.items():
        names = [stem, MASK_SUFFIX.sub("", stem)]
        names += [
            image + stem.removeprefix(word) for word, image in PREFIXES.items() if stem.startswith(word)
        ]
        partner = next((name for name in (*names, *(f"{n}_0000" for n in names)) if name in images), None)
        if partner is None:
            problems.append(
                f"{shown(mask)}: no image of that name in {image_folder.name}, "
                "with or without _mask, _seg, _label or _gt"
            )
        else:
            used[partner] += 1
            pairs.append(Pair(partner.removesuffix("_0000"), (images[partner],), mask))
    problems += [
        f"{shown(file)}: {'no mask' if not used[stem] else f'{used[stem]} masks, expected one'} "
        f"in {mask_folder.name}"
        for stem, file in images.items()
        if used[stem] != 1
    ]
    return Layout(f"{image_folder.name} and {mask_folder.name}", in_order(pairs), tuple(problems))


def _one_folder(root: Path, names: tuple[str, ...]) -> Path:
    """The one folder of such a name.

    Raises:
        FileNotFoundError: there is none.
        ValueError: there are several.
    """
    all_below = sorted(path for path in root.iterdir() if path.is_dir())
    found = [path for path in all_below if path.name.lower() in names]
    if len(found) > 1:
        raise ValueError(
            f"{root}: found {' and '.join(path.name for path in found)}, expected one folder of {', '.join(names)}"
        )
    if found:
        return found[0]
    below = [path.name for path in all_below if any(part.name.lower() in names for part in path.iterdir())]
    advice = f"; give one of its folders, {', '.join(below)}" if below else ""
    raise FileNotFoundError(
        f"no dataset.json in {str(root)!r}, and no folder {' or '.join(names)}: expected the Medical "
        "Segmentation Decathlon's layout, nnU-Net's raw layout, or images/ with masks/ or labels/" + advice
    )


def _by_stem(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Image files by stem, and a sentence for each whose stem is taken."""
    found: dict[str, Path] = {}
    problems = []
    for file in visible(folder):
        known = file.name.lower().endswith((*NIFTI_SUFFIXES, *PICTURE_SUFFIXES))
        if file.is_dir() and any(file.iterdir()):
            problems.append(
                f"{shown(file)}: a folder; put its files into {folder.name} itself, each under its own name"
            )
        elif file.name.lower().endswith(NOT_READ):
            problems.append(f"{shown(file)}: this format is not read; convert it to PNG or NIfTI")
        elif known and file.is_file():
            stem = same_name(stem_of(file))
            if stem in found:
                problems.append(f"{shown(file)}: {found[stem].name} has the same stem; keep one of them")
            else:
                found[stem] = file
        elif known:
            problems.append(f"{shown(file)}: a link that leads nowhere, or an empty folder; take it out")
    return found, problems
