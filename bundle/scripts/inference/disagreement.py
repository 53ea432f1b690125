"""How far the passes over one case disagree, so that a pipeline can flag it for a person."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from monai.engines.utils import IterationEvents
from monai.utils.enums import CommonKeys as Keys

from ..networks import Ensemble
from ..results import Label, expected_dice
from .slicewise import SlicewiseInferer


class Disagreement:
    """Ignite handler: runs every pass (network, flip, plane) alone and compares their labels.

    Puts ``uncertainty`` (1, X, Y, Z), the share of passes that do not give a voxel its final label, and
    ``agreement``, the mean Dice of all pairs of passes for each label value, into the output. Doubles the
    time that a case takes.

    Args:
        labels: the table of the task's labels.
    """

    def __init__(self, labels: Sequence[Label]) -> None:
        self.labels = labels

    def attach(self, engine: Engine) -> None:
        """Attach before the evaluator's postprocessing."""
        engine.add_event_handler(Events.STARTED, self._look)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self)

    def _look(self, engine: Any) -> None:
        """Refuse a run whose every case would have one pass, before its first one."""
        if len(_members(engine.network)) == len(engine.inferer.flips) == len(engine.inferer.planes) == 1:
            raise SystemExit(
                "cannot compare passes: there is one alone; leave out --uncertainty, or give several weights, "
                '--flips "[[0]]" or more --planes'
            )

    def __call__(self, engine: Any) -> None:
        """Compare the passes of the case at hand.

        Raises:
            ValueError: the run has one pass only.
        """
        final = engine.state.output[Keys.PRED]
        with engine.mode(engine.network):
            image = engine.state.batch[Keys.IMAGE].to(engine.state.device)
            found = passes(image, engine.inferer, engine.network)
        engine.state.output["agreement"] = expected_dice(found, self.labels)
        share = torch.stack([labels != final.as_tensor() for labels in found]).float().mean(0)
        engine.state.output["uncertainty"] = MetaTensor(share, meta=final.meta)


def passes(image: torch.Tensor, inferer: SlicewiseInferer, network: torch.nn.Module) -> list[torch.Tensor]:
    """Labels (1, X, Y, Z) of every pass alone over an image (C, X, Y, Z)."""
    found = []
    for member in _members(network):
        for flip in inferer.flips:
            axes = [1 + axis for axis in flip if 1 + axis < image.ndim]  # a picture has no third
            for plane in inferer.planes if image.ndim == 4 else inferer.planes[:1]:
                alone = copy.copy(inferer)
                alone.planes, alone.flips = (plane,), ((),)
                flipped = image.flip(axes) if axes else image
                labels = alone(flipped[None], member)[0]
                plain = labels.as_tensor() if isinstance(labels, MetaTensor) else labels
                found.append(plain.flip(axes) if axes else plain)
    return found


def _members(network: torch.nn.Module) -> Sequence[torch.nn.Module]:
    """The networks of an ensemble, or the one."""
    return [*network.members] if isinstance(network, Ensemble) else [network]
