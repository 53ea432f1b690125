"""Connected components of a mask, found slab by slab: a large scan is never held as a volume of numbers."""

from collections.abc import Sequence
from itertools import product

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
        self._slabs = [slice(start, start + planes) for start in range(0, len(inside), planes)]
        pieces, joints = [np.zeros(0, np.int64)], [np.zeros((2, 0), np.int64)]
        found, previous, last = 0, 0, None
        for slab in self._slabs:
            numbers, count = self._pieces(slab)
            within = numbers[inside[slab]]  # far fewer: bincount copies what it is given as eight bytes each
            pieces.append(np.bincount(within, minlength=count + 1)[1:])
            if last is not None:
                joints.append(_touching(last, numbers[0]) + np.array([[found - previous], [found]]))
            last, previous = numbers[-1].copy(), count
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


def _touching(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Pairs (2, N), from 0, of pieces of two neighbouring planes that touch."""
    pairs = [np.zeros(0, np.int64)]
    for shift in product((-1, 0, 1), repeat=one.ndim):
        here, there = one[_overlap(shift)], other[_overlap([-step for step in shift])]
        both = (here > 0) & (there > 0)
        pairs.append(np.unique((here[both].astype(np.int64) - 1 << 32) + there[both] - 1))
    together = np.unique(np.concatenate(pairs))
    return np.stack([together >> 32, together & 0xFFFFFFFF])


def _overlap(shift: Sequence[int]) -> tuple[slice, ...]:
    """What of a plane lies over another one that is shifted by one pixel or none along each axis."""
    return tuple({-1: slice(None, -1), 0: slice(None), 1: slice(1, None)}[step] for step in shift)
