"""The layout of images in one folder beside masks in another, of equal names."""

import os
import re
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from ...study.channels import CHANNEL
from ...study.kinds import NIFTI_SUFFIXES, PICTURE_SUFFIXES, stem_of
from .pair import NOT_READ, Layout, Pair, in_order, same_name, shown, visible

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "imagestr")
MASK_FOLDERS = (
    *("masks", "mask", "labels", "label", "labelstr", "segmentations", "annotations", "groundtruth"),
    *("manual", "manual1", "1st_manual"),  # of the retina's sets, where mask is the field of view
)
# label0001 beside img0001, as the abdomen challenge has; segmentation-0 beside volume-0, as the liver's
PREFIXES = (
    *(("label", "img"), ("mask", "img"), ("seg", "img")),
    *(("segmentation", "volume"), ("labels", "volume")),
)
IMAGE_SUFFIXES = ("", "_0000", "_image", "_img", "_training", "_test")
MASK_SUFFIX = re.compile(
    "[-_](masks?|segmentation|seg|labels?|gt|groundtruth|anno|manual1?|1stHO)$", re.IGNORECASE
)
MOST_PARTS = 5  # folders that may be parts of a data set; more are its cases
JOIN = "join them into one file, a value a label"
FURTHER = re.compile(r"[-_]\d+$")  # benign (4)_mask_1 beside benign (4)_mask
TO_LIST = (
    'where files lie otherwise, list them in a dataset.json: {"training": [{"image": "1/ct.nii.gz", "label": '
    '"1/mask.nii.gz"}, …]} (docs/plan.md)'
)


def folders(root: Path) -> Layout:
    """Pairs of a folder of images and one of masks; see :func:`read_layout` for its errors."""
    image_folder, mask_folder = _one_folder(root, IMAGE_FOLDERS), _one_folder(root, MASK_FOLDERS)
    images, problems = _by_stem(image_folder)
    masks, more = _by_stem(mask_folder)
    problems += more
    pairs, used = [], Counter[str]()
    for stem, mask in masks.items():
        partner = _partner(stem, images)
        if partner is None and _partner(FURTHER.sub("", stem), images):
            problems.append(f"{shown(mask)}: a further mask of an image, which takes one; {JOIN}")
        elif partner is None:
            problems.append(
                f"{shown(mask)}: no image of that name in {image_folder.name}, "
                "with or without _mask, _seg, _label or _gt"
            )
        else:
            used[partner] += 1
            pairs.append(Pair(partner.removesuffix("_0000"), (images[partner],), mask))
    for stem, file in images.items():
        channel = CHANNEL.fullmatch(stem)
        if used[stem] > 1:
            problems.append(f"{shown(file)}: {used[stem]} masks, expected one in {mask_folder.name}; {JOIN}")
        elif not used[stem]:
            further = channel is not None and used[f"{channel[1]}_0000"]
            advice = "; channels in files of their own need nnU-Net's dataset.json" if further else ""
            problems.append(f"{shown(file)}: no mask in {mask_folder.name}{advice}")
    name, remarks = f"{image_folder.name} and {mask_folder.name}", _beside(root, (image_folder, mask_folder))
    return Layout(name, in_order(pairs), tuple(problems), remarks=remarks)


def _partner(mask: str, images: Collection[str]) -> str | None:
    """The image's stem that goes with a mask's."""
    names = [mask, MASK_SUFFIX.sub("", mask)]
    names += [image + mask.removeprefix(word) for word, image in PREFIXES if mask.startswith(word)]
    return next((n + suffix for suffix in IMAGE_SUFFIXES for n in names if n + suffix in images), None)


def _beside(root: Path, read: Collection[Path]) -> tuple[str, ...]:
    """A remark on folders that are not read, though they hold images or masks."""
    others = [
        folder.name
        for folder in visible(root)
        if folder.is_dir()
        and os.access(folder, os.R_OK)
        and folder not in read
        and any(map(_is_known, folder.iterdir()))
    ]
    return (f"not read: {', '.join(others)}",) if others else ()


def _is_known(file: Path) -> bool:
    return file.name.lower().endswith((*NIFTI_SUFFIXES, *PICTURE_SUFFIXES))


def _one_folder(root: Path, names: tuple[str, ...]) -> Path:
    """The one folder of such a name.

    Raises:
        FileNotFoundError: there is none.
        ValueError: there are several.
    """
    all_below = sorted(path for path in root.iterdir() if path.is_dir())
    found = [path for path in all_below if path.name.lower() in names]
    if len(found) > 1:
        view = " (mask may be the field of view)" if names is MASK_FOLDERS else ""
        raise ValueError(
            f"{root}: found {' and '.join(path.name for path in found)}, expected one folder of {', '.join(names)}; move "
            f"the others elsewhere{view}"
        )
    if found:
        return found[0]
    described = ("dataset.json", *names)
    below = [path for path in all_below if any(part.name.lower() in described for part in path.iterdir())]
    sets = len(below) <= MOST_PARTS or (below[0] / "dataset.json").is_file()
    shown_few = ", ".join([path.name for path in below[:MOST_PARTS]] + ["…"] * (len(below) > MOST_PARTS))
    few = f"give one of its folders, {shown_few}; or, " if below and sets else ""
    raise FileNotFoundError(
        f"no dataset.json in {str(root)!r}, and no folder {' or '.join(names)}: expected the Medical "
        f"Segmentation Decathlon's layout, nnU-Net's raw layout, or images/ with masks/ or labels/; {few}{TO_LIST}"
    )


def _by_stem(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Image files by stem, and a sentence for each whose stem is taken."""
    found: dict[str, Path] = {}
    problems = []
    for file in visible(folder):
        known = _is_known(file)
        if file.is_dir() and any(file.iterdir()):
            problems.append(
                f"{shown(file)}: a folder; put its files into {folder.name} itself, each under its own name (of several "
                f"masks an image, {JOIN})"
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
    endings = sorted({file.suffix or file.name for file in visible(folder) if file.is_file()})
    if endings and not found and not problems:
        problems.append(
            f"{folder.name}: holds {', '.join(endings[:MOST_PARTS])}, which are not read; save pictures as PNG, and "
            "masks, too, with a value a label"
        )
    return found, problems
