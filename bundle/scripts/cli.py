"""The console command ``mcanet``: the bundle's workflows under short names, with no logic of its own."""

import argparse
import json
import re
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
OF_MONAI = {"run_id", "init_id", "final_id", "meta_file", "logging_file", "tracking", "args_file"}


def main(argv: Sequence[str] | None = None) -> None:
    """Run ``python -m monai.bundle run`` with the command's configuration files and arguments.

    Args:
        argv: arguments without the program's name; None takes those of the process.
    """
    arguments, overrides = parser().parse_known_args(argv)
    config_files = [CONFIGS / arguments.config]
    if arguments.task is not None:
        config_files.append(task_file(arguments.task))
    refuse_unknown(overrides, config_files)
    places = {"dataset_dir": "dataset_dir", "output_dir": "output_dir", "ckpt_dir": "output_dir"}
    given = [
        f"--{setting}={value!r}"
        for setting, name in places.items()
        if (value := getattr(arguments, name, None)) and setting in arguments.places
    ]
    run_id = ["--run_id", arguments.run_id] if arguments.run_id else []
    files = repr([str(file) for file in config_files])
    sys.argv = ["monai.bundle", "run", *run_id, "--config_file", files, *given, *overrides]
    runpy.run_module("monai.bundle", run_name="__main__")


def parser() -> argparse.ArgumentParser:
    """The command's arguments; others are passed on as ``--name value`` of the configuration."""
    top = argparse.ArgumentParser(
        prog="mcanet",
        description="Segment medical images with MCANet. Further --name value pairs override the settings.",
        allow_abbrev=False,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(
        name: str, text: str, config: str, *places: str, run_id: str | None = None
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        sub.add_argument("--task", help="name of a task, or a task file; default: hippocampus")
        sub.set_defaults(config=config, run_id=run_id, places=places)
        return sub

    segment = command(
        "segment", "segment a file, or every study in a folder", "inference.json", "dataset_dir", "output_dir"
    )
    segment.add_argument(
        "dataset_dir", metavar="IN", help="DICOM, NIfTI or picture, or a folder of any mix of them"
    )
    segment.add_argument("output_dir", metavar="OUT", help="folder for manifest.csv and one folder a case")
    check = command(
        "check", "say what would be read and what refused", "inference.json", "dataset_dir", run_id="check"
    )
    check.add_argument("dataset_dir", metavar="IN", help="as for segment")
    train = command(
        "train",
        "train on a folder in the Decathlon layout",
        "train.json",
        "dataset_dir",
        "output_dir",
        "ckpt_dir",
    )
    train.add_argument("dataset_dir", metavar="DATA", help="folder with dataset.json")
    train.add_argument(
        "output_dir",
        metavar="OUT",
        nargs="?",
        default="mcanet_training",
        help="folder for the weights and the log",
    )
    evaluate = command(
        "evaluate",
        "measure the weights on the test part of a folder",
        "evaluate.json",
        "dataset_dir",
        "output_dir",
    )
    evaluate.add_argument("dataset_dir", metavar="DATA", help="folder with dataset.json")
    evaluate.add_argument(
        "output_dir", metavar="OUT", nargs="?", default="mcanet_evaluation", help="folder for the figures"
    )
    return top


def refuse_unknown(overrides: Sequence[str], config_files: Sequence[Path]) -> None:
    """End the process if an override names no setting: MONAI would pass over a misspelt one in silence.

    Raises:
        SystemExit: naming it and the settings that there are.
    """
    settings = {key for file in config_files for key in json.loads(file.read_text())}
    for word in overrides:
        name = re.split(r"[#:=]", word.removeprefix("--"))[0]
        if word.startswith("--") and name not in settings | OF_MONAI:
            raise SystemExit(f"no setting {name!r}: expected one of {', '.join(sorted(settings))}")


def task_file(task: str) -> Path:
    """The configuration file of a task's name, or of a path.

    Raises:
        SystemExit: there is no such task.
    """
    known = {file.stem: file for file in sorted((CONFIGS / "tasks").glob("*.json"))}
    file = known.get(task, Path(task))
    if not file.is_file():
        raise SystemExit(f"no task {task!r}: expected one of {sorted(known)} or a task file")
    return file


if __name__ == "__main__":
    main()
