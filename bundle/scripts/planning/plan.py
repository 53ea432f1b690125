"""Plan a task for a folder of labelled data: read all of it, choose, write the task file, say why."""

import json
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import psutil
import torch
from tqdm import tqdm

from ..plain_exit import plain_exit
from ..study import RefusedError, limits_of
from ..study.kinds import NIFTI_SUFFIXES
from ..training import Layout, Pair, read_layout
from ..training.layouts.pair import shown as name_of
from . import choices as choose
from .choices import Choice
from .fingerprint import Facts, facts_of
from .folds import folds
from .intensity import intensity, is_ct
from .overlay import fitness, is_evaluated, labels, write
from .values import Classes, classes_of, values_in

SHOWN = 20
JPEG = b"\xff\xd8\xff"  # what it begins with
T = TypeVar("T")


@plain_exit("cannot plan")
def plan(dataset_dir: str | Path, task_file: str | Path, limits: Mapping[str, Any] | None = None) -> None:
    """Write a task file for ``mcanet train``, ``evaluate`` and ``segment``, and print what it says and why.

    Args:
        dataset_dir: labelled data in a layout of :func:`scripts.training.read_layout`.
        task_file: the JSON file to write; an earlier plan is replaced.
        limits: arguments of :class:`scripts.study.Limits` to read with, which the task takes over.

    Raises:
        SystemExit: with every pair that cannot be used, or because the data cannot be planned for; nothing is
            written.
    """
    file = Path(task_file)
    refuse_place(file)
    if not str(dataset_dir):
        raise ValueError("the data set's folder is an empty name")
    layout = read_layout(dataset_dir)
    if not layout.pairs and not layout.problems:
        raise ValueError(f"no labelled pair in {str(dataset_dir)!r} ({layout.name})")
    volumes = {"nifti_volumes": layout.channels_in_file} if holds_volumes(layout) else {}
    given = {**(limits or {}), **volumes}
    bounds = limits_of(given)
    masks, problems = each(layout.pairs, lambda pair: values_in(pair, bounds), "masks")
    stop_at([*layout.problems, *problems])
    lossy = next((name_of(pair.label) for pair in layout.pairs if is_jpeg(pair.label)), None)
    classes = classes_of(masks, layout.labels, lossy)
    facts, problems = each(layout.pairs, lambda pair: facts_of(pair, classes, bounds), "pairs")
    stop_at([*problems, *unlike(facts)])
    if layout.channels_in_file not in (1, facts[0].channels):
        raise ValueError(
            f"dataset.json names {layout.channels_in_file} channels, the images hold {facts[0].channels}: mend it, or "
            "put the files of those that are missing beside them"
        )
    weights = f"{file.resolve().with_suffix('')}_training/model.pt"
    chosen = settings(layout, classes, facts, weights, given)
    data = summary(layout, classes, facts)
    write(file, chosen, {"data": data}, channel_names(layout, facts[0].channels))
    print(report(chosen, data, str(dataset_dir), str(task_file)))


def holds_volumes(layout: Layout) -> bool:
    """Whether its images are four-dimensional files, whose volumes become channels."""
    names = [pair.images[0].name.lower() for pair in layout.pairs]
    return layout.channels_in_file > 1 and any(name.endswith(NIFTI_SUFFIXES) for name in names)


def is_jpeg(file: Path) -> bool:
    """Whether a file holds JPEG, whatever its name says."""
    with file.open("rb") as stream:
        return stream.read(len(JPEG)) == JPEG


def refuse_place(file: Path) -> None:
    """Refuse to write a task where it would replace something else, or could not be read.

    Raises:
        ValueError: saying what is in the way.
    """
    if file.suffix != ".json":
        raise ValueError(f"the task file {str(file)!r} must end in .json")
    if "#" in str(file.resolve()):
        raise ValueError(
            f"{str(file.resolve())!r} holds a '#', which MONAI's configurations do not take; put it elsewhere"
        )
    if file.name == "dataset.json":
        raise ValueError(f"{str(file)!r} is the name of a data set's description; give the task another one")
    if file.is_dir() or not all(above.is_dir() for above in file.parents if above.exists()):
        raise ValueError(
            f"{str(file)!r} cannot be a file: a folder has its name, or a file that of its folder"
        )
    if file.exists():
        try:
            planned = "data" in json.loads(file.read_text(encoding="utf-8"))["notes"]
        except (OSError, ValueError, KeyError, TypeError):
            planned = False
        if not planned:
            raise ValueError(
                f"{str(file)!r} is there, and is no task that mcanet plan wrote; name another file"
            )


def each(pairs: Iterable[Pair], measure: Callable[[Pair], T], what: str) -> tuple[list[T], list[str]]:
    """What is measured of each pair, and a sentence for each that is broken."""
    results, problems = [], []
    for pair in tqdm(list(pairs), desc=f"reading {what}", leave=False, disable=None):
        try:
            results.append(measure(pair))
        except ValueError as error:
            problems.append(f"{pair.case}: {error}")
    return results, problems


def unlike(facts: list[Facts]) -> list[str]:
    """A sentence for each case whose kind or channels are not those of most."""
    kinds = Counter((one.kind, one.channels) for one in facts)
    (kind, channels), _ = kinds.most_common(1)[0] if kinds else ((None, None), 0)
    return [
        f"{one.case}: a {one.kind} of {one.channels} channels, where most are a {kind} of {channels}; convert it"
        for one in facts
        if (one.kind, one.channels) != (kind, channels)
    ]


def stop_at(problems: list[str]) -> None:
    """Refuse the data set if any pair cannot be used.

    Raises:
        RefusedError: naming up to :data:`SHOWN` of them.
    """
    if problems:
        more = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        raise RefusedError(
            "\n  ".join([f"what is wrong with the data ({len(problems)}):", *problems[:SHOWN], *more])
        )


def settings(
    layout: Layout, classes: Classes, facts: list[Facts], weights: str, limits: Mapping[str, Any]
) -> dict[str, Choice]:
    """Every setting of the task."""
    if not any(one.extent for one in facts):
        raise ValueError("every mask is empty: there is nothing to learn")
    memory = psutil.virtual_memory().available
    split, training = folds([pair.case for pair in layout.pairs], {one.case: one.labels for one in facts})
    split["folds"] = Choice(split["folds"].value, split["folds"].reason + untrained(classes, facts, training))
    view = choose.viewing(facts, len(classes.names) + 1)
    pictures = len(facts[0].shape) == 2
    grid = choose.picture_grid(facts) if pictures else choose.volume_grid(facts, view["planes"].value)
    channels = facts[0].channels * (2 * view["context"].value + 1)
    ct = is_ct(facts, layout.modality)
    return {
        "ckpt_path": Choice(weights, "where `mcanet train` with this task writes unless OUT is given"),
        "channel_files": Choice(
            len(layout.pairs[0].images),
            "files an image, …_0000, …_0001 where several"
            + "".join(f"; {i}: {name}" for i, name in enumerate(channels_called(layout, facts[0].channels))),
        ),
        "limits": Choice(
            limits, "how files are read; nifti_volumes: a file of four dimensions holds so many, as channels"
        ),
        "in_channels": Choice(
            channels,
            f"{facts[0].channels} of the image" + ", with the neighbouring slices" * view["context"].value,
        ),
        "out_channels": Choice(len(classes.names) + 1, "the labels and the background"),
        **labels(classes.names),
        "label_map": Choice(classes.label_map, classes.reason + numbering(classes)),
        **intensity(facts, layout.modality, colour=len(layout.pairs[0].images) == 1),
        **view,
        **grid,
        **choose.batches(
            facts, grid["roi_size"].value, grid["spacing"].value, len(training), device_memory(memory)
        ),
        **choose.caching(facts, memory),
        **choose.drawing(facts, classes.names),
        **choose.cleaning(facts, classes.names),
        **split,
        **fitness(facts, ct, view["planes"].value),
    }


def channel_names(layout: Layout, channels: int) -> tuple[str, ...]:
    """Names of an image's channels, where dataset.json has one for each of several, and MONAI would not evaluate it."""
    told = tuple(name.strip() for name in layout.channels)
    usable = len(told) == channels > 1 and all(told) and not any(map(is_evaluated, told))
    return told if usable else ()


def channels_called(layout: Layout, channels: int) -> Sequence[str]:
    """What tells an image's channels apart for a reader: their names, else the files of the first case's."""
    files = [name_of(file) for file in layout.pairs[0].images]
    return channel_names(layout, channels) or (files if len(files) > 1 else ())


def untrained(classes: Classes, facts: list[Facts], training: set[str]) -> str:
    """A warning of labels that no case that trains holds, though others do."""
    warnings = []
    for i, name in enumerate(classes.names):
        holding = [one.case for one in facts if one.voxels[i + 1]]
        if holding and not training & {*holding}:
            warnings.append(f"; NONE THAT TRAINS HOLDS {name} ({shown(', '.join(holding))} does)")
    advice = "; no fold trains more labels: label more cases" if warnings else ""
    return "".join(warnings) + advice


def numbering(classes: Classes) -> str:
    """What to expect of results where labels have other numbers than the masks' values."""
    if not classes.label_map or len(classes.names) < 2:
        return ""
    return f"; results number them from 1 to {len(classes.names)}"


def device_memory(main: int) -> int:
    """Bytes at hand where training will run: the GPU's, else ``main``."""
    return torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else main


def summary(layout: Layout, classes: Classes, facts: list[Facts]) -> str:
    """The data set in a sentence."""
    empty = sum(not one.extent for one in facts)
    absent = [name for i, name in enumerate(classes.names) if not any(one.voxels[i + 1] for one in facts)]
    parts = [f"{len(facts)} labelled cases in the layout {layout.name}", *layout.remarks]
    parts += [f"{empty} masks are empty"] if empty else []
    parts += [f"no mask holds {', '.join(absent)}"] if absent else []
    return "; ".join(parts)


def report(chosen: dict[str, Choice], data: str, dataset_dir: str, task_file: str) -> str:
    """The printed plan."""
    lines = [data, ""]
    lines += [f"{name:13} {shown(choice.value):26} {choice.reason}" for name, choice in chosen.items()]
    quoted, task = shlex.quote(dataset_dir), shlex.quote(task_file)
    return "\n".join(
        [
            *lines,
            "",
            f"wrote {task_file}. Next:",
            f"  mcanet train {quoted} --task {task}",
            f"  mcanet evaluate {quoted} --task {task}",
            f"  mcanet segment IN OUT --task {task}",
            f"The weights are looked for at {chosen['ckpt_path'].value}; trained elsewhere: --ckpt_path OUT/model.pt",
        ]
    )


def shown(value: Any) -> str:
    """A value in a few words; a long one is read in the file."""
    text = str(value["_target_"] if isinstance(value, dict) and "_target_" in value else value)
    return text if len(text) <= 26 else "(in the file)"
