"""How the cases are cut into parts."""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from ..training.datalist import group_of, split
from .choices import Choice

NUMBER = r"[\W_]*\d+"
SLICE = rf"(?:.*(?:slice|frame){NUMBER}[\W_]*)?"  # before the patient, it is no part of their name
PATIENT = rf"(?:(?:.*?[\W\d_])??(?:patient|pat|subject|subj|sub)|case|p){NUMBER}"
# sub-01_ses-02_T1w (BIDS); patient 1 slice 2, case1(2), slice000_p01; img001_patient01, where p01 may be a patch;
# fdg_0011f3deaf_03-23-2003
NAMED = (
    r"^(sub-[^_]+(?=_))",
    rf"(?i)^{SLICE}({PATIENT})",
    rf"(?i)^.*(?:img|image){NUMBER}[\W_]*((?:patient|pat|subject|subj){NUMBER})",
    r"^((?:[a-z]+_)?(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)[0-9a-f]{8,})(?=[_-])",
)
# 026_frame12 or 01L, up to the first number; OAS1_0004_MR1, up to the second
NUMBERED = tuple(rf"^((?:\D*\d+(?!\d)){{{number}}})" for number in (1, 2, 3))
HASH = re.compile(r"(?:[a-f]+\d+){3}|(?:[^\W\d_]+\d+){4}", re.IGNORECASE)  # whose first numbers say nothing
FEWEST_PATIENTS = 5
FOLDS = 5


def folds(cases: Sequence[str], labels: Mapping[str, Collection[int]]) -> tuple[dict[str, Choice], set[str]]:
    """The settings, and the cases that train.

    Args:
        cases: names.
        labels: that each case holds; some must validate, and as many as can be must train.
    """
    group, patients = _patients(cases)
    count = Counter(patients)
    names = list(dict.fromkeys(patients))
    number = max(2, min(FOLDS, len(names) - 1))
    held = {name: set[int]() for name in names}
    for case, name in zip(cases, patients, strict=True):
        held[name].update(labels[case])
    cuts = [split(names, folds=number, fold=fold) for fold in range(number)]
    usable = [fold for fold in range(number) if any(held[name] for name in cuts[fold]["validation"])]
    trained = [{value for name in parts["training"] for value in held[name]} for parts in cuts]
    fold = max(usable or [0], key=lambda fold: len(trained[fold]))
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


def _patients(cases: Sequence[str]) -> tuple[Choice, list[str]]:
    """The pattern of the patients' names, and whose each case is: of the shortest names that leave enough to cut."""
    alike = ""
    after = "(?=[_-])" if any(map(HASH.search, cases)) else r"(?=\D)"
    named = [pattern for pattern in NAMED if all(re.search(pattern, case) for case in cases)]
    for pattern in (*named, *(number + after for number in NUMBERED)):
        patients = [group_of(case, pattern) for case in cases]
        count = Counter(patients)
        name, _ = count.most_common(1)[0]
        case = cases[patients.index(name)]
        if FEWEST_PATIENTS <= len(count) < len(cases):
            words = f"{case!r} and others of {name!r} stay in one part: {len(count)} patients (if they are none, change it)"
            return Choice(pattern, words + alike), patients
        if 1 < len(count) < len(cases) and not alike:
            alike = f"; IF {case!r} and others of {name!r} are of one patient, what tests is not new"
    return Choice(None, f"each case stands alone, by its name{alike}"), list(cases)
