"""Layouts that a dataset.json describes: the Decathlon's, and nnU-Net's raw one."""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from ...study.channels import CHANNEL
from ...study.kinds import NIFTI_SUFFIXES, PICTURE_SUFFIXES, stem_of
from .pair import NOT_READ, Layout, Pair, in_order, same_name, shown, visible

MANY_FOLDERS = 5  # of several images: patients rather than sites
NORMALISATIONS = {"nonorm", "rescale_to_0_1", "rgb_to_0_1"}  # channel names that nnU-Net takes for one


def decathlon(root: Path, content: Mapping[str, Any]) -> Layout:
    """Pairs that the list ``training`` names; see :func:`read_layout` for its errors."""
    entries = [_files_of(entry, root) for entry in content["training"]]
    pairs, problems = [], _repeated(entries)
    for images, label in entries:
        pair = Pair(stem_of(root / images[0]), tuple(root / image for image in images), root / label)
        lacking = [name for name in (*images, label) if not (root / name).is_file()]
        if lacking:
            problems.append(f"{pair.case}: {' and '.join(lacking)} is missing{_numbered(root / images[0])}")
        elif any(Path(name).name.startswith("._") for name in (*images, label)):
            problems.append(f"{pair.case}: a file of the desktop system; take it out of dataset.json")
        else:
            pairs.append(pair)
    problems += _swapped(pairs, root)
    name = "Medical Segmentation Decathlon"
    modality = content.get("modality", "")
    single = all(len(pair.images) == 1 for pair in pairs)
    in_one = len(modality) if single and modality and isinstance(modality, dict | list) else 1
    labels = _names(content, root, by_value=_hold_names(content.get("labels")))
    return Layout(
        name, in_order(_told_apart(pairs, root)), tuple(problems), labels, _in_order_of_channels(modality), in_one,
        (*_other_count(content, len(content["training"])), *_other_parts(content)),
    )  # fmt: skip


def _repeated(entries: Sequence[tuple[list[str], str]]) -> list[str]:
    """A sentence for each file that stands in several places of the list."""
    listed = Counter(os.path.normpath(image) for images, _ in entries for image in images)
    shared = Counter(os.path.normpath(label) for _, label in entries)
    twice = [f"{image}: listed {count} times in dataset.json" for image, count in listed.items() if count > 1]
    return twice or [
        *(
            f"{label}: the label of {count} images in dataset.json; give each image a file of its own"
            for label, count in shared.items()
            if count > 1
        ),
        *(
            f"{image}: an image and a label in dataset.json; give each the file that it is"
            for image in listed
            if image in shared
        ),
    ]


def _swapped(pairs: Sequence[Pair], root: Path) -> list[str]:
    """A sentence for each case whose channels are listed in another order than most cases', as their names tell."""
    orders = [_differences([os.path.relpath(file, root) for file in pair.images]) for pair in pairs]
    usual = Counter(orders).most_common(1)[0][0] if orders else ()
    return [
        f"{pair.case}: its channels are listed as {', '.join(order)}, those of most cases as {', '.join(usual)}; list "
        "them alike"
        for pair, order in zip(pairs, orders, strict=True)
        if order != usual and sorted(order) == sorted(usual)
    ]


def _differences(names: Sequence[str]) -> tuple[str, ...]:
    """What is left of names without what they begin and end with in common."""
    rest = [name[_alike(names) :] for name in names]
    ending = _alike([name[::-1] for name in rest])
    return tuple(name[: len(name) - ending] for name in rest)


def _alike(names: Sequence[str]) -> int:
    """How many characters all names begin with."""
    return len([*takewhile(lambda letters: len({*letters}) == 1, zip(*names, strict=False))])


def _other_count(content: Mapping[str, Any], count: int) -> tuple[str, ...]:
    """A remark where dataset.json counts other cases than there are, as after half of a copy."""
    told = content.get("numTraining", count)
    if str(told) == str(count):
        return ()
    return (f"dataset.json says numTraining {told}: see that all were copied",)


def _other_parts(content: Mapping[str, Any]) -> tuple[str, ...]:
    """Remarks on parts that are cut otherwise here: MONAI's list ``validation``, and its ``fold`` of a case."""
    remarks = [
        f"the list {name!r} of {len(cases)} labelled cases is not read: folds are drawn of 'training'"
        for name, cases in content.items()
        if name != "training"
        and isinstance(cases, list)
        and any(isinstance(case, dict) and "label" in case for case in cases)
    ]
    if any("fold" in case for case in content["training"]):
        remarks.append("each case's fold is not followed: folds are drawn")
    return tuple(remarks)


def _numbered(image: Path) -> str:
    """Advice where a missing image is there under nnU-Net's name of its first channel."""
    stem, ending = stem_of(image), image.name.removeprefix(stem_of(image))
    if not image.with_name(f"{stem}_0000{ending}").is_file():
        return ""
    return (
        ", but its channel 0000 is there: for nnU-Net's layout, write channel_names, file_ending and labels as it has them "
        'now ({"background": 0, "spleen": 1}) in dataset.json'
    )


def _files_of(entry: Any, root: Path) -> tuple[list[str], str]:
    """The image's files, and the label's, of an entry of the list.

    Raises:
        ValueError: it lacks one.
    """
    found = entry if isinstance(entry, dict) else {}
    images, label = found.get("image"), found.get("label")
    images = images if isinstance(images, list) else [images]
    if not images or not all(isinstance(name, str) for name in (*images, label)):
        raise ValueError(
            f"{root / 'dataset.json'}: a training entry must have image and label, got {entry!r}"
        )
    return images, str(label)


def _told_apart(pairs: Sequence[Pair], root: Path) -> list[Pair]:
    """The pairs, by their folders, too, where some files have equal names, or the folders may well be the patients."""
    images = Counter(pair.images[0].parent for pair in pairs)
    alike = len({pair.case for pair in pairs}) < len(pairs)
    grouped = len(images) >= MANY_FOLDERS and max(images.values()) > 1
    named = any(pair.images[0].parent.name in pair.case for pair in pairs)
    if not alike and (not grouped or named):
        return list(pairs)
    return [replace(pair, case="_".join((*_folders_of(pair, root), pair.case))) for pair in pairs]


def _folders_of(pair: Pair, root: Path) -> tuple[str, ...]:
    return Path(os.path.relpath(pair.images[0].parent, root)).parts


def _in_order_of_channels(described: Any) -> tuple[str, ...]:
    """What dataset.json says of each channel: by number, in a list, or of all in a word."""
    if isinstance(described, dict):
        return tuple(str(described.get(str(i), "")) for i in range(len(described)))
    return tuple(map(str, described if isinstance(described, list) else [described or ""]))


def _hold_names(labels: Any) -> bool:
    """Whether ``labels`` has values for keys, as the Decathlon's, and not names, as nnU-Net's."""
    return isinstance(labels, dict) and all(key.isdecimal() for key in labels)


def _names(content: Mapping[str, Any], root: Path, by_value: bool) -> dict[int, str] | None:
    """Names by value, as ``labels`` gives them: by value in the Decathlon's layout, values by name in nnU-Net's.

    Raises:
        ValueError: a value is no whole number, as nnU-Net's regions and its label "ignore", is given twice, or the
            background's is not 0.
    """
    file, labels = root / "dataset.json", content.get("labels") or {}
    if not isinstance(labels, dict):
        raise ValueError(f"{file}: labels must be names with their values, got {labels!r}")
    names: dict[int, str] = {}
    for key, other in labels.items():
        name, value = (str(other), key) if by_value else (key, other)
        if name.lower() == "ignore":
            raise ValueError(
                f"{file}: label {name!r} is {value!r}; an ignored label is not supported: save another label's value "
                "in its place, and take it out"
            )
        if isinstance(value, list):
            raise ValueError(
                f"{file}: label {name!r} is {value!r}; regions are not supported: give each value of the masks a "
                "label of its own"
            )
        if not re.fullmatch(r"\d+", str(value)):
            raise ValueError(
                f"{file}: label {name!r} is {value!r}, expected a whole number from 0"
                + ("" if by_value else ', as in {"background": 0, "spleen": 1}')
            )
        if int(value) in names:
            raise ValueError(f"{file}: labels {names[int(value)]!r} and {name!r} have the same value {value}")
        if name.lower() == "background" and int(value):
            raise ValueError(f"{file}: the background is {value}; masks must have it as 0")
        names[int(value)] = name
    names.pop(0, None)
    return names or None


def nnunet(root: Path, content: Mapping[str, Any]) -> Layout:
    """Pairs of imagesTr and labelsTr; see :func:`read_layout` for its errors."""
    channels = content["channel_names"]
    if not isinstance(channels, dict | list) or not channels:
        raise ValueError(f"{root / 'dataset.json'}: channel_names must name each channel, got {channels!r}")
    if "dataset" in content:
        raise ValueError(
            f"{root / 'dataset.json'}: the list 'dataset' of cases is not read; put their files into imagesTr and "
            "labelsTr, and take it out"
        )
    ending, count = str(content.get("file_ending", ".nii.gz")), len(channels)
    if not ending.startswith("."):
        raise ValueError(f"{root / 'dataset.json'}: file_ending is {ending!r}, expected a dot first")
    if not ending.lower().endswith((*NIFTI_SUFFIXES, *PICTURE_SUFFIXES)):
        raise ValueError(
            f"{root / 'dataset.json'}: files that end in {ending!r} are not read; convert images and labels to .nii.gz, "
            "and set file_ending"
        )
    for folder in ("imagesTr", "labelsTr"):
        if not (root / folder).is_dir():
            raise FileNotFoundError(f"{root}: dataset.json is nnU-Net's, but there is no folder {folder}")
    images, problems = _channels(root / "imagesTr", ending, count)
    labels, strays = _ending_in(root / "labelsTr", ending)
    problems += strays
    in_one = 1
    if ending.lower().endswith(PICTURE_SUFFIXES) and all(set(files) == {0} for files in images.values()):
        in_one, count = count, 1  # a colour picture holds its channels in one file
    pairs = []
    for case in sorted(images.keys() | labels.keys()):
        files = images.get(case, {})
        lacking = [f"imagesTr/{case}_{i:04}{ending}" for i in range(count) if i not in files]
        lacking += [] if case in labels else [f"labelsTr/{case}{ending}"]
        if lacking:
            problems.append(f"{case}: {' and '.join(lacking)} is missing")
        else:
            pairs.append(Pair(case, tuple(files[i] for i in range(count)), labels[case]))
    names, remarks = _names(content, root, by_value=False), _not_followed(root, content, len(pairs))
    called = _in_order_of_channels(channels)
    return Layout("nnU-Net", in_order(pairs), tuple(problems), names, called, in_one, remarks)


def _not_followed(root: Path, content: Mapping[str, Any], count: int) -> tuple[str, ...]:
    """Remarks on what nnU-Net would do otherwise."""
    channels = content["channel_names"]
    names = channels.values() if isinstance(channels, dict) else channels
    remarks = [*_other_count(content, count)]
    if {str(name).lower() for name in names} & NORMALISATIONS:
        remarks.append("channel_names asks for a normalisation; another is chosen here")
    if (root / "splits_final.json").is_file():
        remarks.append("splits_final.json is not followed: folds are drawn")
    return tuple(remarks)


def _channels(folder: Path, ending: str, count: int) -> tuple[dict[str, dict[int, Path]], list[str]]:
    """Each case's files by channel, and a sentence for each file that is none of ``count`` channels."""
    images: dict[str, dict[int, Path]] = {}
    files, problems = _ending_in(folder, ending)
    for stem, file in files.items():
        match = CHANNEL.fullmatch(stem)
        if match is None:
            problems.append(f"{shown(file)}: expected a name that ends in _0000{ending}")
        elif int(match[2]) >= count:
            problems.append(f"{shown(file)}: dataset.json declares {count} channels, from 0000")
        else:
            images.setdefault(match[1], {})[int(match[2])] = file
    return images, problems


def _ending_in(folder: Path, ending: str) -> tuple[dict[str, Path], list[str]]:
    """Files by their names without an ending, in any case, and a sentence for each other image."""
    found, strays = dict[str, Path](), []
    for file in visible(folder):
        name = file.name.lower()
        if name.endswith(ending.lower()):
            stem = same_name(file.name[: -len(ending)])
            if stem in found:
                strays.append(f"{shown(file)}: {found[stem].name} has the same stem; keep one of them")
            found[stem] = file
        elif name.endswith((*NIFTI_SUFFIXES, *PICTURE_SUFFIXES, *NOT_READ)):
            strays.append(f"{shown(file)}: dataset.json says that files end in {ending!r}")
    return found, strays
