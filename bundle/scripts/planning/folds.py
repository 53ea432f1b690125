"""How the cases are cut into parts."""

import re
from collections import Counter
from collections.abc import Collection, Sequence

from ..training.datalist import split
from .choices import Choice

# sub-01_ses-02_T1w (BIDS), patient026_frame12, patient026_ED
PATIENT = r"^(sub-[^_]+(?=_)|.*\d(?=[_-][A-Za-z]*[_-]?\d*$))"
FEWEST_PATIENTS = 5
FOLDS = 5


def folds(cases: Sequence[str], labelled: Collection[str]) -> tuple[dict[str, Choice], set[str]]:
    """The settings, and the cases that train.

    Args:
        cases: names.
        labelled: those of cases whose mask is not empty; some must validate.
    """
    matches = [re.search(PATIENT, case) for case in cases]
    patients = [match[1] if match else case for match, case in zip(matches, cases, strict=True)]
    count = Counter(patients)
    grouped = FEWEST_PATIENTS <= len(count) < len(cases)
    name, _ = count.most_common(1)[0]
    case = cases[patients.index(name)]
    if grouped:
        group = Choice(PATIENT, f"{case!r} and others of {name!r} stay in one part: {len(count)} patients")
    else:
        words = "each case stands alone, by its name"
        if 1 < len(count) < len(cases):
            words += f"; IF {case!r} and others of {name!r} are of one patient, what tests is not new"
        group = Choice(None, words)
        patients, count = list(cases), Counter(cases)
    names = list(dict.fromkeys(patients))
    number = max(2, min(FOLDS, len(names) - 1))
    held = {name for case, name in zip(cases, patients, strict=True) if case in labelled}
    cuts = [split(names, folds=number, fold=fold) for fold in range(number)]
    fold = next((fold for fold, parts in enumerate(cuts) if held & set(parts["validation"])), 0)
    parts = cuts[fold]
    sizes = {part: sum(count[name] for name in chosen) for part, chosen in parts.items()}
    words = (
        f"{sizes['training']} cases train, {sizes['validation']} validate, {sizes['test']} are kept to test"
    )
    return {
        "case_groups": group,
        "folds": Choice(number, words),
        "fold": Choice(fold, "that validates; others with --fold"),
    }, {case for case, name in zip(cases, patients, strict=True) if name in parts["training"]}
