"""The masks of an output folder under the names of a BIDS derivative dataset, beside the case folders."""

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from .. import __version__
from ..hashing import digest
from ..replacing import replacing, write_text
from .labels import Label
from .manifest import read_manifest
from .staging import TABLES, explained
from .tables import Row

BIDS_VERSION = "1.10.0"
# subject, entities, suffix
_RAW = re.compile(r"sub-([A-Za-z0-9]+)((?:_[a-z]+-[A-Za-z0-9]+)*)_([A-Za-z0-9]+)")
_OURS = "sub-*/**/*_desc-mcanet*_dseg.*"


def write_bids(output_dir: Path | str, labels: Sequence[Label]) -> list[Path]:
    """Make an output folder a BIDS derivative dataset: a link to every mask of a volume, and what describes them.

    ``sub-<label>/[ses-<label>/]anat/<entities>_desc-mcanet<suffix>_dseg.nii.gz``: subject and entities are those
    of an input with a BIDS name; another's subject is made of its case id. Links of cases that are not done any more
    go. Pictures have no place in BIDS; they stay in their case folders.

    Args:
        output_dir: as given to ``Manifest``.
        labels: the table of the task's labels.

    Returns:
        The masks' names.

    Raises:
        ValueError: a case folder stands where a subject's has to, or the folder is another BIDS dataset.
        OSError: the folder cannot be written.
    """
    folder = Path(output_dir)
    _refuse_foreign(folder)
    rows = read_manifest(folder)
    done = [row for row in rows if row["status"] == "done" and row["kind"] != "picture"]
    places = _places(done, {row["case_id"].casefold() for row in rows})
    wanted = {folder / place: row for row, place in places}
    try:
        for target, row in wanted.items():
            _write_mask(folder / row["case_id"] / "segmentation.nii.gz", target, row)
        kept = {*wanted, *(_sidecar(target) for target in wanted)}
        for left in [path for path in folder.glob(_OURS) if path not in kept]:
            left.unlink()
        write_text(folder / "dataset_description.json", _described(labels))
        write_text(folder / "dseg.tsv", _table(labels))
        write_text(folder / ".bidsignore", _ignored(rows))
    except OSError as error:
        raise explained(error) from None
    return sorted(wanted)


def is_our_bids(output_dir: Path | str) -> bool:
    """Whether an earlier run made a folder a BIDS derivative dataset."""
    try:
        described = (Path(output_dir) / "dataset_description.json").read_text(encoding="utf-8")
        return any(maker["Name"] == "MCANet" for maker in json.loads(described)["GeneratedBy"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _refuse_foreign(folder: Path) -> None:
    """A dataset of someone else's making is not described anew."""
    there = any((folder / name).exists() for name in ("dataset_description.json", "dseg.tsv"))
    if there and not is_our_bids(folder):
        raise ValueError(
            "the output folder is another BIDS dataset: choose another one, or leave out --layout bids"
        )


def _places(rows: Sequence[Row], case_ids: Collection[str]) -> list[tuple[Row, PurePosixPath]]:
    """Where the mask of each case goes, all different, and in no folder of a case, done or not."""
    raw = [_RAW.fullmatch(PurePosixPath(row["input"]).name.split(".nii")[0]) for row in rows]
    places = [
        _place(subject, *(name.groups()[1:] if name else ("", "")))
        for subject, name in zip(_subjects(rows, raw, case_ids), raw, strict=True)
    ]
    count = Counter(str(place).casefold() for place in places)
    return [
        (row, place if count[str(place).casefold()] == 1 else _distinct(place, row["case_id"]))
        for row, place in zip(rows, places, strict=True)
    ]


def _subjects(
    rows: Sequence[Row], raw: Sequence[re.Match[str] | None], case_ids: Collection[str]
) -> list[str]:
    """The subject that each input's BIDS name says, or one of its own, which no other case has."""
    subjects = [
        name[1] if name else re.sub("[^A-Za-z0-9]", "", row["case_id"])
        for row, name in zip(rows, raw, strict=True)
    ]
    said = {name[1].casefold() for name in raw if name}
    made = Counter(subject.casefold() for subject, name in zip(subjects, raw, strict=True) if not name)
    for i, (row, name) in enumerate(zip(rows, raw, strict=True)):
        subject = subjects[i].casefold()
        if name and f"sub-{subject}" in case_ids:
            raise ValueError(
                f"the case folder 'sub-{subject}' stands where BIDS keeps the subject of {row['input']!r}: rename "
                f"the input of the case 'sub-{subject}', or leave out --layout bids"
            )
        if not name and (subject in said or made[subject] > 1 or f"sub-{subject}" in case_ids):
            subjects[i] += digest(row["case_id"], 6)
    return subjects


def _place(subject: str, entities: str, suffix: str) -> PurePosixPath:
    """The BIDS path of a mask; an input's own description gives way to ours."""
    kept = [entity for entity in entities.split("_") if entity and not entity.startswith("desc-")]
    session = [entity for entity in kept if entity.startswith("ses-")]
    name = "_".join([f"sub-{subject}", *kept, f"desc-mcanet{suffix}", "dseg.nii.gz"])
    return PurePosixPath(f"sub-{subject}", *session, "anat", name)


def _distinct(place: PurePosixPath, case_id: str) -> PurePosixPath:
    """For inputs of the same name in different folders."""
    return place.with_name(place.name.replace("_dseg", f"{digest(case_id, 6)}_dseg"))


def _write_mask(source: Path, target: Path, row: Row) -> None:
    """A link to the mask, or a copy where the file system has no links, and its sidecar."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not (target.exists() and target.samefile(source)):
        with replacing(target) as temporary:
            try:
                os.link(source, temporary)
            except OSError:
                shutil.copyfile(source, temporary)
    told = {
        "Description": "Segmentation by MCANet; dseg.tsv names its values",
        "SpatialReference": "orig",
        "Manual": False,
        "Input": row["input"],
        "InputSHA256": row["input_sha256"],
        "ModelSHA256": row["model_sha256"],
        "Warnings": row["warnings"],
    }
    write_text(_sidecar(target), _json(told))


def _sidecar(target: Path) -> Path:
    return target.with_name(target.name.replace(".nii.gz", ".json"))


def _described(labels: Sequence[Label]) -> str:
    return _json(
        {
            "Name": f"MCANet segmentation: {', '.join(label.name for label in labels)}",
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "MCANet", "Version": __version__}],
        }
    )


def _table(labels: Sequence[Label]) -> str:
    """What the values of all masks are called."""
    lines = ["index\tname\tcolor", "0\tbackground\t#000000"]
    lines += [f"{label.value}\t{label.name}\t#{bytes(label.colour).hex()}" for label in labels]
    return "\n".join(lines) + "\n"


def _ignored(rows: Sequence[Row]) -> str:
    """What of the output folder is no BIDS."""
    return "\n".join([*TABLES, ".mcanet.*", *(f"/{row['case_id']}" for row in rows)]) + "\n"


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
