"""Which labelled pairs a folder holds: the Decathlon's layout, nnU-Net's, or images beside masks."""

import json
import re
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..study import Case
from ..study.channels import CHANNEL
from ..study.kinds import NIFTI_SUFFIXES, PICTURE_SUFFIXES, stem_of

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "imagestr")
MASK_FOLDERS = ("masks", "mask", "labels", "label", "labelstr", "segmentations", "annotations", "groundtruth")
PREFIXES = {
    "label": "img",
    "mask": "img",
    "seg": "img",
}  # label0001 beside img0001, as the abdomen challenge has
MASK_SUFFIXES = ("_mask", "_masks", "_segmentation", "_seg", "_label", "_labels", "_gt", "_groundtruth")


@dataclass(frozen=True)
class Pair:
    """A labelled case.

    Attributes:
        case: its name.
        images: one file, or one file a channel.
        label: the mask.
    """

    case: str
    images: tuple[Path, ...]
    label: Path

    def item(self) -> dict[Hashable, Any]:
        """``{"image": …, "label": …}`` as :class:`scripts.study.LoadStudyd` takes it."""
        image: Any = str(self.images[0])
        if len(self.images) > 1:
            first = self.images[0]
            kind: Any = "nifti" if first.name.lower().endswith(NIFTI_SUFFIXES) else "picture"
            image = Case(self.case, kind, first.name, self.images, first.parent)
        return {"image": image, "label": str(self.label)}


@dataclass(frozen=True)
class Layout:
    """What a folder of labelled data holds.

    Attributes:
        name: of the layout.
        pairs: sorted by their images' paths.
        problems: what has no partner, a sentence each.
        labels: names by value as ``dataset.json`` declares them, without the background; None: it does not.
        modality: of the first channel, or ``""``.
    """

    name: str
    pairs: tuple[Pair, ...]
    problems: tuple[str, ...] = ()
    labels: dict[int, str] | None = field(default=None, hash=False)
    modality: str = ""


def read_layout(dataset_dir: str | Path) -> Layout:
    """List the labelled pairs of a folder, without opening any.

    Raises:
        FileNotFoundError: the folder is missing, or in no layout that is known.
        ValueError: it is ambiguous, or its ``dataset.json`` malformed.
    """
    root = Path(dataset_dir).resolve()
    if not root.is_dir():
        raise FileNotFoundError(f"no folder at {str(dataset_dir)!r}")
    description = root / "dataset.json"
    if not description.is_file():
        return _folders(root)
    try:
        content = json.loads(description.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{description}: no readable JSON ({error})") from None
    if isinstance(content, dict) and "channel_names" in content:
        return _nnunet(root, content)
    if isinstance(content, dict) and isinstance(content.get("training"), list):
        return _decathlon(root, content)
    raise ValueError(
        f"{description}: expected the Decathlon's list 'training' of image and label, or nnU-Net's 'channel_names'"
    )


def _decathlon(root: Path, content: Mapping[str, Any]) -> Layout:
    pairs, problems = [], []
    for entry in content["training"]:
        if not isinstance(entry, dict) or not {"image", "label"} <= entry.keys():
            raise ValueError(
                f"{root / 'dataset.json'}: a training entry must have image and label, got {entry!r}"
            )
        images = entry["image"] if isinstance(entry["image"], list) else [entry["image"]]
        pair = Pair(stem_of(root / images[0]), tuple(root / image for image in images), root / entry["label"])
        lacking = [name for name in (*images, entry["label"]) if not (root / name).is_file()]
        if lacking:
            problems.append(f"{pair.case}: {' and '.join(lacking)} is missing")
        else:
            pairs.append(pair)
    labels = {name: value for value, name in content.get("labels", {}).items()}
    modality = str(content.get("modality", {}).get("0", ""))
    name = "Medical Segmentation Decathlon"
    return Layout(name, _in_order(pairs), tuple(problems), _names(labels, root), modality)


def _names(labels: Mapping[str, Any], root: Path) -> dict[int, str] | None:
    """Names by value, of a mapping from names to values.

    Raises:
        ValueError: a value is no whole number, as nnU-Net's regions and its label "ignore".
    """
    names = {}
    for name, value in labels.items():
        if name.lower() == "ignore" or not re.fullmatch(r"\d+", str(value)):
            raise ValueError(
                f"{root / 'dataset.json'}: label {name!r} is {value!r}; regions and an ignored label are not "
                "supported, give each label one value"
            )
        names[int(value)] = name
    names.pop(0, None)
    return names or None


def _nnunet(root: Path, content: Mapping[str, Any]) -> Layout:
    ending = str(content.get("file_ending", ".nii.gz"))
    images: dict[str, dict[int, Path]] = {}
    problems = []
    for folder in ("imagesTr", "labelsTr"):
        if not (root / folder).is_dir():
            raise FileNotFoundError(f"{root}: dataset.json is nnU-Net's, but there is no folder {folder}")
    for file in sorted((root / "imagesTr").glob(f"*{ending}")):
        match = CHANNEL.fullmatch(file.name.removesuffix(ending))
        if match is None:
            problems.append(f"imagesTr/{file.name}: expected a name that ends in _0000{ending}")
        else:
            images.setdefault(match[1], {})[int(match[2])] = file
    count = len(content["channel_names"])
    if ending.lower().endswith(PICTURE_SUFFIXES) and all(set(files) == {0} for files in images.values()):
        count = 1  # a colour picture holds its channels in one file
    pairs = []
    labels = {file.name.removesuffix(ending): file for file in (root / "labelsTr").glob(f"*{ending}")}
    for case in sorted(images.keys() | labels.keys()):
        files = images.get(case, {})
        lacking = [f"imagesTr/{case}_{i:04}{ending}" for i in range(count) if i not in files]
        lacking += [] if case in labels else [f"labelsTr/{case}{ending}"]
        if lacking:
            problems.append(f"{case}: {' and '.join(lacking)} is missing")
        else:
            pairs.append(Pair(case, tuple(files[i] for i in range(count)), labels[case]))
    modality = str(content["channel_names"].get("0", ""))
    return Layout(
        "nnU-Net", _in_order(pairs), tuple(problems), _names(content.get("labels", {}), root), modality
    )


def _folders(root: Path) -> Layout:
    image_folder, mask_folder = _one_folder(root, IMAGE_FOLDERS), _one_folder(root, MASK_FOLDERS)
    images, problems = _by_stem(image_folder)
    masks, more = _by_stem(mask_folder)
    problems += more
    pairs, used = [], Counter[str]()
    for stem, mask in masks.items():
        names = [stem, *(stem.removesuffix(end) for end in MASK_SUFFIXES if stem.endswith(end))]
        names += [
            image + stem.removeprefix(word) for word, image in PREFIXES.items() if stem.startswith(word)
        ]
        partner = next((name for name in (*names, *(f"{n}_0000" for n in names)) if name in images), None)
        if partner is None:
            problems.append(f"{_shown(mask)}: no image of that name in {image_folder.name}")
        else:
            used[partner] += 1
            pairs.append(Pair(partner.removesuffix("_0000"), (images[partner],), mask))
    problems += [
        f"{_shown(file)}: {'no mask' if not used[stem] else f'{used[stem]} masks, expected one'} "
        f"in {mask_folder.name}"
        for stem, file in images.items()
        if used[stem] != 1
    ]
    return Layout(f"{image_folder.name} and {mask_folder.name}", _in_order(pairs), tuple(problems))


def _one_folder(root: Path, names: tuple[str, ...]) -> Path:
    """The one folder of such a name.

    Raises:
        FileNotFoundError: there is none.
        ValueError: there are several.
    """
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    found = [path for path in folders if path.name.lower() in names]
    if len(found) > 1:
        raise ValueError(
            f"{root}: found {' and '.join(path.name for path in found)}, expected one folder of {', '.join(names)}"
        )
    if found:
        return found[0]
    below = [path.name for path in folders if any(part.name.lower() in names for part in path.iterdir())]
    advice = f"; give one of its folders, {', '.join(below)}" if below else ""
    raise FileNotFoundError(
        f"no dataset.json in {str(root)!r}, and no folder {' or '.join(names)}: expected the Medical "
        "Segmentation Decathlon's layout, nnU-Net's raw layout, or images/ with masks/ or labels/" + advice
    )


def _by_stem(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Image files by stem, and a sentence for each whose stem is taken."""
    found: dict[str, Path] = {}
    problems = []
    for file in sorted(folder.iterdir()):
        known = file.name.lower().endswith((*NIFTI_SUFFIXES, *PICTURE_SUFFIXES))
        if known and file.is_file() and not file.name.startswith("."):
            stem = stem_of(file)
            if stem in found:
                problems.append(f"{_shown(file)}: {found[stem].name} has the same stem; keep one of them")
            else:
                found[stem] = file
    return found, problems


def _shown(file: Path) -> str:
    return f"{file.parent.name}/{file.name}"


def _in_order(pairs: list[Pair]) -> tuple[Pair, ...]:
    return tuple(sorted(pairs, key=lambda pair: str(pair.images[0])))
