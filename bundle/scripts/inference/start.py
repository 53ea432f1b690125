"""What a run opens before its first case; what cannot be opened ends the process with one sentence."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch.nn as nn

from ..cores import started_together
from ..hashing import digest, file_digest, together
from ..networks import Ensemble, load_weights
from ..networks.weights_file import paths_of
from ..plain_exit import plain_exit
from ..results import Manifest, class_labels
from ..study import find_input, is_address

open_input = plain_exit("cannot read the input")(find_input)
open_labels = plain_exit("cannot use the labels")(class_labels)


def may_store(store: bool, dataset_dir: str | Path, seg: str, deidentify: bool) -> bool:
    """Whether results go back to the server that the input came from.

    Raises:
        SystemExit: they shall, and there is no server, no SEG, or a SEG that would stand in the patient's study
            under another name.
    """
    wrong = {
        "an input from a DICOMweb server": not is_address(dataset_dir),
        "a SEG: set seg to binary or labelmap": seg == "off",
        "the patient's identity in it, for it joins the patient's study: leave deidentify out": deidentify,
    }
    for needed in [needed for needed, missing in wrong.items() if store and missing]:
        raise SystemExit(f"cannot store results: that needs {needed}")
    return store


def provenance(
    ckpt_path: str | Path | Sequence[str | Path], device: Any, settings: Sequence[Any]
) -> dict[str, str]:
    """What holds for every case of a run: hashes of the weights and of the settings, and the device.

    Args:
        ckpt_path: the weights; several files are an ensemble.
        device: that the run computes on.
        settings: whatever changes the result; a case done under others is done anew.
    """
    return {
        "model_sha256": _weights_sha256(ckpt_path),
        "device": str(device),
        "settings_sha256": digest(repr(settings), 64),
    }


def open_manifest(
    output_dir: str | Path,
    provenance: Mapping[str, str],
    dataset_dir: str | Path = "",
    reading: Sequence[Any] = (),
) -> Manifest:
    """Take hold of an output folder for a run, alone or with the other processes that a launcher started.

    Args:
        output_dir: made if it does not exist.
        provenance: see :func:`provenance`.
        dataset_dir: the run's input, the same words for all of its processes.
        reading: what else decides which cases there are and when one is done, the same for all of them.

    Raises:
        SystemExit: another run holds the folder, it cannot be written, or it is the input folder.
    """
    with plain_exit("cannot write results"):
        if str(dataset_dir) and Path(output_dir).resolve() == Path(dataset_dir).resolve():
            raise ValueError(
                f"{str(output_dir)!r} is the input folder, too, where masks would be taken for images: give another one "
                "for the results"
            )
        common = (str(dataset_dir), *(provenance.get(name) for name in ("model_sha256", "settings_sha256")))
        run = digest(repr((common, reading)), 16) if started_together() else ""
        return Manifest(str(output_dir), provenance, run)


def open_network(network: nn.Module, ckpt_path: str | Path | Sequence[str | Path]) -> nn.Module:
    """Load a network's weights, or an ensemble of several, see :func:`scripts.networks.load_weights`.

    Raises:
        SystemExit: there are none, or they do not fit.
    """
    members = []
    for path in paths_of(ckpt_path):
        with plain_exit(f"cannot load the weights {str(path)!r}"):
            members.append(load_weights(copy.deepcopy(network), path))
    return members[0] if len(members) == 1 else Ensemble(members)


def _weights_sha256(ckpt_path: str | Path | Sequence[str | Path]) -> str:
    """SHA-256 of a file, or of several files' hashes; empty where one is missing (loading it says so)."""
    paths = paths_of(ckpt_path)
    if not all(Path(path).is_file() for path in paths):
        return ""
    return together([file_digest(path) for path in paths])
