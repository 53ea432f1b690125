"""How intensities are normalised."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..study.fitness import HOUNSFIELD_MINIMUM
from .choices import Choice, median
from .fingerprint import Facts

# CTA, CT_portal …, not PET or OCT
_CT = re.compile(r"(?<![a-z])(CB|NC|CE)?CTA?(?![a-z])|computed.tomograph", re.IGNORECASE)
SKULL_STRIPPED = 0.4  # share of exact zeros


def intensity(facts: Sequence[Facts], modality: str, colour: bool) -> dict[str, Choice]:
    """The transform that normalises the image.

    Args:
        facts: of the cases.
        modality: as the data set declares it, or ``""``.
        colour: whether three channels are red, green and blue, not files of their own.
    """
    pictures = len(facts[0].shape) == 2
    if is_ct(facts, modality):
        return {"intensity": _hounsfield(facts)}
    if pictures and facts[0].channels == 3:
        return {"intensity": _three_channels(facts, "red, green and blue" if colour else "each channel")}
    rule: dict[str, Any] = {"_target_": "NormalizeIntensityd", "keys": "image"}
    if facts[0].channels > 1:
        rule |= {"channel_wise": True}
    doubt = ""
    if not pictures and _lowest(facts) <= HOUNSFIELD_MINIMUM:
        why = "several channels are treated alike" if facts[0].channels > 1 else f"{modality!r} is declared"
        doubt = f"; values go down to {_lowest(facts):.0f} as in CT, which would be clipped, but {why}"
    zeros = float(np.median([one.zeros for one in facts]))
    if zeros > SKULL_STRIPPED and not pictures:
        rule |= {"nonzero": True}
        return {"intensity": Choice(rule, f"z-score of each case without its {100 * zeros:.0f} % of zeros")}
    return {"intensity": Choice(rule, f"z-score of each {'picture' if pictures else 'volume'}{doubt}")}


def is_ct(facts: Sequence[Facts], modality: str) -> bool:
    """Whether the data set is CT: declared, or with the values of air."""
    volumes = len(facts[0].shape) == 3 and facts[0].channels == 1
    if modality.strip():
        return volumes and bool(_CT.search(modality))
    return volumes and _lowest(facts) <= HOUNSFIELD_MINIMUM


def _lowest(facts: Sequence[Facts]) -> float:
    """The lowest value of most cases."""
    return float(np.median([one.lowest for one in facts]))


def _hounsfield(facts: Sequence[Facts]) -> Choice:
    """Clip to the labelled voxels' percentiles, then subtract their mean and divide by their deviation."""
    sample = np.concatenate([one.sample[:, 0] for one in facts]).astype(float)
    low, high = np.percentile(sample, [0.5, 99.5])
    mean, std = sample.mean(), max(sample.std(), 1.0)
    rule = {
        "_target_": "ScaleIntensityRanged",
        "keys": "image",
        "a_min": round(float(low), 2),
        "a_max": round(float(max(high, low + 1)), 2),
        "b_min": round(float((low - mean) / std), 4),
        "b_max": round(float((max(high, low + 1) - mean) / std), 4),
        "clip": True,
    }
    return Choice(
        rule, f"CT: labelled voxels lie in {low:.0f} to {high:.0f} HU (0.5 to 99.5 %), clipped, z-score"
    )


def _three_channels(facts: Sequence[Facts], names: str) -> Choice:
    """The data set's own mean and deviation of each channel; each picture's where they differ too much."""
    means, within = median([one.mean for one in facts]), median([one.std for one in facts])
    between = np.std([one.mean for one in facts], axis=0)
    rule: dict[str, Any] = {"_target_": "NormalizeIntensityd", "keys": "image", "channel_wise": True}
    if between.max() > within.max():
        return Choice(
            rule,
            f"z-score of each picture: their brightness differs by {between.max():.0f}, within by {within.max():.0f}",
        )
    rule |= {"subtrahend": means.round(2).tolist(), "divisor": within.clip(1).round(2).tolist()}
    return Choice(rule, f"the data set's mean and deviation of {names}")
