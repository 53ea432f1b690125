"""Connected components of a mask, found slab by slab: a large scan is never held as a volume of numbers."""

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

_SLAB = 2**22  # voxels that are numbered at a time


class Components:
    """The components of a mask, which hang together by faces, edges or corners.

    Attributes:
        sizes: voxels of each, in the order in which they begin along the first axis.

    Args:
        inside: bool, of any shape with no empty axis.
    """

    def __init__(self, inside: np.ndarray) -> None:
        self._inside = inside
        planes = max(1, _SLAB // inside[:1].size)
        # each begins with the plane that the one before it ends with: there a voxel has a number of both
        self._slabs = [slice(max(0, start - 1), start + planes) for start in range(0, len(inside), planes)]
        pieces, joints = [np.zeros(0, np.int64)], [np.zeros((2, 0), np.int64)]
        found, last = 0, None
        for slab in self._slabs:
            numbers, count = self._pieces(slab)
            if last is not None:
                pairs = _pairs(last[0], numbers[0][inside[slab.start]])
                joints.append(pairs + np.array([[last[1]], [found - 1]]))
            own = slice(0 if last is None else 1, None)
            within = numbers[own][inside[slab][own]]  # far fewer: bincount copies them as eight bytes each
            pieces.append(np.bincount(within, minlength=count + 1)[1:])
            last = numbers[-1][inside[slab][-1]], found - 1
            found += count
        first, second = np.concatenate(joints, axis=1)
        graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(found, found))
        count, components = connected_components(graph, directed=False) if found else (0, pieces[0])
        self._component: np.ndarray = components
        self.sizes = np.bincount(self._component, np.concatenate(pieces), minlength=count).astype(np.int64)

    @property
    def largest(self) -> np.ndarray:
        """bool, one a component: the first of those that no other exceeds."""
        return np.arange(len(self.sizes)) == np.append(self.sizes, 0).argmax()

    def only(self, kept: np.ndarray) -> np.ndarray:
        """The mask of some of them.

        Args:
            kept: bool, one a component.
        """
        result = np.empty_like(self._inside)
        at = 0
        for slab in self._slabs:
            numbers, count = self._pieces(slab)
            result[slab] = np.append(False, kept[self._component[at : at + count]])[numbers]
            at += count
        return result

    def _pieces(self, slab: slice) -> tuple[np.ndarray, int]:
        numbers, count = ndimage.label(self._inside[slab], np.ones((3,) * self._inside.ndim))
        return numbers, count


def _pairs(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The different pairs (2, N) of numbers below 2**31 that stand at the same place (N,) of both."""
    together = np.unique((one.astype(np.int64) << 32) + other)
    return np.stack([together >> 32, together & 0xFFFFFFFF])
