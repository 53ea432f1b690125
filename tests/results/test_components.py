"""Components that are found slab by slab are those of the whole mask."""

import numpy as np
import pytest
from mcanet.scripts.results import components
from mcanet.scripts.results.components import Components
from scipy import ndimage


@pytest.mark.parametrize("slab", [1, 100, 2000, 2**22])
@pytest.mark.parametrize(
    ("shape", "share"),
    [((40, 30, 20), 0.05), ((40, 30, 20), 0.2), ((50, 60), 0.3), ((3, 4, 5), 0.0), ((1, 1), 1.0)],
)
def test_slabs_change_nothing(
    shape: tuple[int, ...], share: float, slab: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(components, "_SLAB", slab)
    random = np.random.default_rng(0)
    mask = random.random(shape) < share
    numbers, count = ndimage.label(mask, np.ones((3,) * mask.ndim))
    found = Components(mask)
    assert found.sizes.tolist() == np.bincount(numbers.ravel(), minlength=count + 1)[1:].tolist()
    kept = random.random(count) < 0.5
    assert np.array_equal(found.only(kept), np.append(False, kept)[numbers])
