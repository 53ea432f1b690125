"""How intensities are normalised."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..study.fitness import HOUNSFIELD_MINIMUM
from .choices import Choice, median
from .fingerprint import Facts
from .values import first

# CTA, CT_portal …, not PET or OCT
_CT = re.compile(r"(?<![a-z])(CB|NC|CE)?CTA?(?![a-z])|computed.tomograph", re.IGNORECASE)
SKULL_STRIPPED = 0.4  # share of exact zeros
_FEW_HOUNSFIELD = 10  # units that what is labelled spans in no scan


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
    high = high if high > low else low + 1
    mean, std = sample.mean(), sample.std() or 1.0
    rule = {
        "_target_": "ScaleIntensityRanged",
        "keys": "image",
        "a_min": _significant(low),
        "a_max": _significant(high),
        "b_min": _significant((low - mean) / std),
        "b_max": _significant((high - mean) / std),
        "clip": True,
    }
    span = f"{low:.4g} to {high:.4g}"
    doubt = (
        "" if high - low > _FEW_HOUNSFIELD else ", which are hardly Hounsfield units: see that CT is meant"
    )
    return Choice(
        rule,
        f"CT: labelled voxels lie in {span} HU (0.5 to 99.5 %){doubt}, clipped, z-score{_others_than_ct(facts)}",
    )


def _others_than_ct(facts: Sequence[Facts]) -> str:
    """A remark on the few cases in which nothing is less dense than water, unlike in any CT of the others."""
    others = [one.case for one in facts if one.lowest >= 0]
    if not 0 < len(others) < len(facts):
        return ""
    return f"; {len(others)} hold nothing below 0 HU ({first(others)}): if they are no CT, take them out"


def _significant(value: float) -> float:
    """Five significant digits, whatever the range of the data."""
    return float(f"{value:.5g}")


def _three_channels(facts: Sequence[Facts], names: str) -> Choice:
    """The data set's own mean and deviation of each channel; each picture's where they differ too much."""
    means, within = median([one.mean for one in facts]), median([one.std for one in facts])
    between = np.std([one.mean for one in facts], axis=0)
    rule: dict[str, Any] = {"_target_": "NormalizeIntensityd", "keys": "image", "channel_wise": True}
    if between.max() > within.max():
        return Choice(
            rule,
            f"z-score of each picture: their brightness differs by {between.max():.3g}, within by {within.max():.3g}",
        )
    spread = np.where(within > 0, within, 1)
    rule |= {
        "subtrahend": [_significant(one) for one in means],
        "divisor": [_significant(one) for one in spread],
    }
    return Choice(rule, f"the data set's mean and deviation of {names}")
