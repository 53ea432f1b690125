"""The parts of a cross-validation as one account."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..lock import keep, let_go
from ..plain_exit import plain_exit
from .summary import FILE, STATED, forget_earlier, read_summary, summarise, write_summary


@plain_exit("cannot merge")
def merge_summaries(folders: Sequence[str | Path], output_dir: str | Path) -> None:
    """Write the ``summary.json`` of several evaluations' cases together, its intervals over all of them.

    Args:
        folders: of evaluations under the same labels and tolerance.
        output_dir: made if it does not exist.

    Raises:
        SystemExit: a summary is missing, differs in labels, tolerance or unit, or measures a case a second time; or
            one of the folders is ``output_dir``, or that holds another program's summary or is written to.
    """
    if not str(output_dir):
        raise ValueError("the output folder is an empty name")
    if Path(output_dir).resolve() in [Path(folder).resolve() for folder in folders]:
        raise ValueError(
            f"{str(output_dir)!r} is one of the evaluations; name another folder for what they are together"
        )
    cases, stated, owner = [], dict[str, Any](), dict[str, Path]()
    for file in [Path(folder) / FILE for folder in folders]:
        summary = read_summary(file)
        own = {key: summary[key] for key in STATED}
        if stated and own != stated:
            raise ValueError(f"{file} was measured with {own}, the ones before with {stated}; measure alike")
        stated = own
        for case in summary["metric_per_case"]:
            reference = case["reference_file"]
            if reference in owner:
                raise ValueError(f"{reference} was measured in {owner[reference]} and {file}; leave one out")
            owner[reference] = file
            cases.append(case)
    keep(Path(output_dir))
    forget_earlier(Path(output_dir))
    write_summary(summarise(cases, stated), Path(output_dir))
    let_go(Path(output_dir))
