"""The console command ``mcanet``: the bundle's workflows under short names, with no logic of its own."""

import argparse
import ast
import difflib
import json
import re
import runpy
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from .cores import in_a_process_group, share_cores
from .heap import collect_rarely, keep_freed_memory
from .plain_exit import plain_exit

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
DEFAULT_TASK = "hippocampus"  # the settings in the configs themselves
Commands = argparse._SubParsersAction  # argparse has no public name for it
# JSON's words are texts to MONAI's command line, and it passes over None
PYTHON_WORDS = {"null": "$None", "None": "$None", "true": "True", "false": "False"}
PATHS = ("--ckpt_path", "--init_path")  # settings; a list of several is taken as it is
OF_MONAI = {"run_id", "init_id", "final_id", "meta_file", "logging_file", "args_file"}
OF_MONAI |= {"tracking", "tracking_uri", "experiment_name", "run_name"}


def main(argv: Sequence[str] | None = None) -> None:
    """Do what a command says.

    Args:
        argv: arguments without the program's name; None takes those of the process.
    """
    arguments, overrides = parser().parse_known_args(argv)
    if overrides and arguments.do is not run:
        raise SystemExit(f"mcanet {arguments.command} takes no {overrides[0]!r}{arguments.instead}")
    arguments.overrides = overrides
    arguments.do(arguments)


def parser() -> argparse.ArgumentParser:
    """The commands' arguments; those of the workflows take others as ``--name value`` of the configuration."""
    top = argparse.ArgumentParser(
        prog="mcanet",
        description="Segment medical images with MCANet. Further --name value pairs override the settings.",
        allow_abbrev=False,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_workflows(commands)
    _add_others(commands)
    return top


def _add_workflows(commands: Commands) -> None:
    """Those that run a configuration of the bundle."""

    def workflow(name: str, text: str, config: str, *places: str) -> argparse.ArgumentParser:
        settings = f"Each name at the top of {CONFIGS / config} is a setting: give it as --name value."
        sub = commands.add_parser(name, help=text, description=text, epilog=settings, allow_abbrev=False)
        _add_task(sub)
        sub.set_defaults(do=run, config=config, run_id=None, places=places, log_format="text")
        return sub

    def on_labelled_data(sub: argparse.ArgumentParser, output: str) -> None:
        sub.add_argument("dataset_dir", metavar="DATA", help="labelled data, as for plan")
        sub.add_argument("output_dir", metavar="OUT", nargs="?", help=f"folder for {output}")

    segment = workflow(
        "segment", "segment a file, or every study in a folder", "inference.json", "dataset_dir", "output_dir"
    )
    segment.add_argument(
        "dataset_dir",
        metavar="IN",
        help="DICOM, NIfTI, picture, a folder of any mix of them, or a DICOMweb URL",
    )
    segment.add_argument("output_dir", metavar="OUT", help="folder for manifest.csv and one folder a case")
    check = workflow("check", "say what would be read and what refused", "inference.json", "dataset_dir")
    check.add_argument("dataset_dir", metavar="IN", help="as for segment")
    check.set_defaults(run_id="check")
    train = workflow(
        "train", "train on a folder of labelled data", "train.json", "dataset_dir", "output_dir", "ckpt_dir"
    )
    on_labelled_data(
        train, "the weights and the log; default: where the task looks for weights, or mcanet_training"
    )
    evaluate = workflow(
        "evaluate",
        "measure the weights on the test part of a folder",
        "evaluate.json",
        "dataset_dir",
        "output_dir",
    )
    on_labelled_data(evaluate, "the figures; default: beside a task file, or mcanet_evaluation")
    for sub in (segment, train, evaluate):
        sub.add_argument(
            "--log_format",
            "--log-format",
            choices=("text", "json"),
            help="json: one object a line on standard output; default: text",
        )


def _add_others(commands: Commands) -> None:
    """Those that run none, and take no further settings."""
    merging = commands.add_parser("merge", help="put evaluations, as of folds, together", allow_abbrev=False)
    merging.add_argument("folders", metavar="FIGURES", nargs="+", help="folders that evaluate wrote")
    merging.add_argument("-o", "--output_dir", metavar="OUT", required=True, help="folder for summary.json")
    merging.set_defaults(do=merge, instead="")
    planning = commands.add_parser("plan", help="write a task for your own data", allow_abbrev=False)
    planning.add_argument(
        "dataset_dir",
        metavar="DATA",
        help="labelled data: the Decathlon's layout, nnU-Net's, or images/ with masks/ or labels/",
    )
    planning.add_argument("-o", "--task_file", metavar="FILE", required=True, help="the task, FILE.json")
    planning.add_argument(
        "--limits",
        type=dictionary,
        help="how files are read, e.g. \"{'fill_nonfinite': 0}\"; the task takes it over",
    )
    planning.set_defaults(do=plan, instead=": change the settings in the file that it writes")
    exporting = commands.add_parser("export", help="write a stand-alone bundle of a task", allow_abbrev=False)
    _add_task(exporting)
    exporting.add_argument(
        "-o", "--output_dir", metavar="DIR", required=True, help="the bundle's folder, to be made"
    )
    exporting.add_argument("--ckpt_path", help="its weights; default: what the task names, else models/tasks")
    exporting.set_defaults(do=export, instead=": put settings into the task's file")
    verifying = commands.add_parser(
        "verify",
        help="compare a bundle's configs, code and weights with the list they came with",
        allow_abbrev=False,
    )
    verifying.add_argument(
        "folder", metavar="BUNDLE", nargs="?", default=str(CONFIGS.parent), help="default: the installed one"
    )
    verifying.set_defaults(do=verify, instead="")


def dictionary(text: str) -> dict[str, object]:
    """A dictionary in Python's words.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is no dictionary such as \"{{'fill_nonfinite': 0}}\"")
    return found


def _add_task(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--task", default=DEFAULT_TASK, help=f"name of a task, or a task file; default: {DEFAULT_TASK}"
    )


def run(arguments: argparse.Namespace) -> None:
    """Run ``python -m monai.bundle run`` with the command's configuration files and arguments."""
    share_cores()
    keep_freed_memory()
    collect_rarely()
    for name in arguments.places:
        if getattr(arguments, name, None) == "":
            raise SystemExit(f"cannot {arguments.command}: {name} is an empty name")
    overlay = task_file(arguments.task)
    together = [CONFIGS / f"multi_gpu_{arguments.config}"] if in_a_process_group() else []
    config_files = [
        CONFIGS / arguments.config,
        *filter(Path.exists, together),
        *([overlay] if overlay else []),
    ]
    refuse_unknown(arguments.overrides, config_files)
    given = [f"--{name}={literal(place)!r}" for name, place in places_of(arguments, overlay).items()]
    if arguments.run_id:
        given += ["--run_id", arguments.run_id]
    if arguments.log_format == "json":
        from .json_log import log_as_json  # here, as for export

        log_as_json()
        given += ["--logging_file", "False"]
    files = repr([str(file) for file in config_files])
    if arguments.config == "inference.json":
        from .lean_start import import_monai  # here, as for export

        end_at_sigterm()
        import_monai()
    sys.argv = ["monai.bundle", "run", "--config_file", files, *given, *in_python(arguments.overrides)]
    with plain_exit(f"cannot {arguments.command}"):
        runpy.run_module("monai.bundle", run_name="__main__")


def places_of(arguments: argparse.Namespace, overlay: Path | None) -> dict[str, str]:
    """The folders and weights of a command, as it was given them or by the task, by the settings' names."""
    output_dir = getattr(arguments, "output_dir", None)
    if arguments.command == "train" and output_dir is None:
        output_dir = training_folder(overlay, arguments.overrides)
    if arguments.command == "evaluate" and output_dir is None:
        output_dir = evaluation_folder(overlay, arguments.overrides)
    places = {"dataset_dir": arguments.dataset_dir, "output_dir": output_dir, "ckpt_dir": output_dir}
    found = {name: places[name] for name in arguments.places}
    if arguments.command != "train" and (weights := weights_of_fold(overlay, arguments.overrides)):
        found["ckpt_path"] = weights
    return found


def end_at_sigterm() -> None:
    """Have SIGTERM end the process as an error does, so that retrieved images go with it, and as PID 1 it ends at all."""
    if threading.current_thread() is threading.main_thread():  # no other may
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def plan(arguments: argparse.Namespace) -> None:
    """Plan a task; the file that it writes is where settings are changed."""
    from .planning import plan as write_plan  # here, as for export

    write_plan(arguments.dataset_dir, arguments.task_file, arguments.limits)


def merge(arguments: argparse.Namespace) -> None:
    """Merge the summaries of evaluations."""
    from .evaluation import merge_summaries  # here, as for export

    merge_summaries(arguments.folders, arguments.output_dir)


def verify(arguments: argparse.Namespace) -> None:
    """Verify a bundle."""
    from .verify import verify as compare

    print(f"{compare(Path(arguments.folder))} files of {arguments.folder!r} are as listed")


def training_folder(overlay: Path | None, overrides: Sequence[str]) -> str:
    """Where a training writes unless it is told: where the task looks for its weights, other folds beside it."""
    return (folder_of_weights(overlay) or "mcanet_training") + other_fold(overlay, overrides)


def weights_of_fold(overlay: Path | None, overrides: Sequence[str]) -> str | None:
    """The weights of another fold than the task's, which lie where its training wrote; None: others are meant."""
    fold, folder = other_fold(overlay, overrides), folder_of_weights(overlay)
    told = any(word.split("=")[0] == "--ckpt_path" for word in overrides)
    return f"{folder}{fold}/model.pt" if fold and folder and not told else None


def evaluation_folder(overlay: Path | None, overrides: Sequence[str]) -> str:
    """Where an evaluation writes unless it is told: beside a task file of the user's."""
    if overlay is None or overlay.parent == CONFIGS / "tasks":
        return "mcanet_evaluation"
    return f"{overlay.absolute().with_suffix('')}_evaluation{other_fold(overlay, overrides)}"


def folder_of_weights(overlay: Path | None) -> str | None:
    """The folder of the weights that a task names, where a training may write them."""
    named = settings_of(overlay).get("ckpt_path")
    if isinstance(named, str) and not named.startswith(("$", "@", "%")) and Path(named).name == "model.pt":
        return str(Path(named).parent)
    return None


def other_fold(overlay: Path | None, overrides: Sequence[str]) -> str:
    """What the folders of a fold end in that is asked for and is not the task's own; else nothing."""
    fold = re.search(r"--fold[= ](\d+)", " ".join(overrides))
    return f"_fold{fold[1]}" if fold and int(fold[1]) != settings_of(overlay).get("fold", 0) else ""


def settings_of(overlay: Path | None) -> dict[str, object]:
    """What a task file sets; without one, nothing."""
    found: dict[str, object] = json.loads(overlay.read_text(encoding="utf-8")) if overlay else {}
    return found


def export(arguments: argparse.Namespace) -> None:
    """Export a task; it runs no workflow, so that no setting can be given besides."""
    from .export import export_bundle  # here, since it imports torch, which the other commands leave to MONAI

    print(f"wrote {export_bundle(arguments.output_dir, task_file(arguments.task), arguments.ckpt_path)}")


def refuse_unknown(overrides: Sequence[str], config_files: Sequence[Path]) -> None:
    """End the process if an override names no setting: MONAI would pass over a misspelt one in silence.

    Raises:
        SystemExit: naming it and the settings that there are.
    """
    settings = settings_in(config_files)
    for before, word in zip(["", *overrides], overrides, strict=False):
        name = re.split(r"[#:=]", word.removeprefix("--"))[0]
        value = not before.startswith("--") or "=" in before
        if word.startswith("--") and name not in settings | OF_MONAI:
            near = difflib.get_close_matches(name, settings | OF_MONAI, 1, cutoff=0.8)
            hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(sorted(settings))}"
            raise SystemExit(f"no setting {name!r}: {hint}")
        if not word.startswith("--") and value:
            raise SystemExit(f"{word!r} belongs to no setting: expected --name value")


def settings_in(config_files: Iterable[Path]) -> set[str]:
    """The names at the top of configuration files."""
    return {key for file in config_files for key in json.loads(file.read_text())}


def literal(place: str) -> str:
    """A path as an expression that MONAI takes as it is: in a text it would follow ``$``, ``@``, ``%`` and ``#``.

    Its tracking joins more to the output folder, which fails with a text.
    """
    return "$" + re.sub("[$@%#]", lambda sign: f"\\x{ord(sign[0]):02x}", repr(place))


def in_python(overrides: Sequence[str]) -> Iterator[str]:
    """The overrides in the words that MONAI's command line understands: JSON's null, true and false, and paths with #."""
    before = ""
    for override in overrides:
        name, sign, value = override.rpartition("=")
        if (name or before) in PATHS and "#" in value and not value.startswith(("[", "$")):
            value = repr(literal(value))
        yield name + sign + PYTHON_WORDS.get(value, value)
        before = override


def task_file(task: str) -> Path | None:
    """The configuration file of a task's name, or of a path; None for the default task.

    Raises:
        SystemExit: there is no such task.
    """
    known = {file.stem: file for file in sorted((CONFIGS / "tasks").glob("*.json"))}
    if task == DEFAULT_TASK:
        return None
    file = known.get(task, Path(task))
    if not file.is_file():
        raise SystemExit(f"no task {task!r}: expected one of {[DEFAULT_TASK, *known]} or a task file")
    refuse_misspelt(file)
    return file


def refuse_misspelt(overlay: Path) -> None:
    """End the process if a task file cannot be read, or sets almost what a workflow has; it may have values of its own.

    Raises:
        SystemExit: naming file and place.
    """
    try:
        text = overlay.read_text(encoding="utf-8")
        settings = json.loads(text)
        if not isinstance(settings, dict):
            raise ValueError(f"it holds a {type(settings).__name__}")
    except (OSError, ValueError) as error:
        raise SystemExit(f"the task file {str(overlay)!r} is no JSON object: {error}") from None
    known = settings_in(CONFIGS.glob("*.json"))
    names = {key: key.lstrip("+").split("#")[0] for key in settings}
    for key, name in names.items():
        near = [] if name in known else difflib.get_close_matches(name, known, 1, cutoff=0.8)
        if near and f"@{key}" not in text:
            raise SystemExit(
                f"the task file {str(overlay)!r} sets {key!r}, which no workflow has; did you mean {near[0]!r}?"
            )
    if known.isdisjoint(names.values()):
        raise SystemExit(f"the task file {str(overlay)!r} is none: it sets nothing that a workflow has")


if __name__ == "__main__":
    main()
