"""The Ignite engine of a run: one case an iteration, one that fails does not stop the others."""

import time
from typing import Any

import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from monai.engines import SupervisedEvaluator
from monai.engines.utils import IterationEvents
from monai.utils.enums import CommonKeys as Keys

from ..heap import give_back_freed_memory
from ..results import ResultsWriter
from .cohort import Cohort


class CaseEvaluator(SupervisedEvaluator):
    """SupervisedEvaluator over a :class:`Cohort`: single cases without a batch axis, so that none is copied.

    Args:
        device: where the network is.
        cohort: the cases.
        network: see SupervisedEvaluator; likewise ``inferer``, ``postprocessing`` and ``val_handlers``.
    """

    def __init__(self, device: torch.device, cohort: Cohort, network: torch.nn.Module, **kwargs: Any) -> None:
        super().__init__(device=device, val_data_loader=cohort, network=network, decollate=False, **kwargs)
        self.cohort = cohort

    def _iteration(self, engine: Any, batchdata: dict[str, Any]) -> dict[str, Any]:
        engine.state.output = {}
        problem = None
        try:
            image = batchdata[Keys.IMAGE].to(engine.state.device)
            with engine.mode(engine.network):
                engine.state.output[Keys.PRED] = engine.inferer(image[None], engine.network)[0]
            engine.fire_event(IterationEvents.FORWARD_COMPLETED)
            batchdata[Keys.IMAGE] = _without_voxels(image)
            del image  # a large one is let go before its labels are turned back, which holds them twice
            give_back_freed_memory()
            engine.fire_event(IterationEvents.MODEL_COMPLETED)
        except Exception as error:
            problem = error
        if problem is not None:
            self.cohort.account_for(
                batchdata["case"], problem, batchdata["input_sha256"], batchdata["started"]
            )
        return engine.state.output


def _without_voxels(image: MetaTensor) -> MetaTensor:
    """What Invertd and the results ask of an image that was segmented: its meta data, and how it was turned."""
    return MetaTensor(
        image.as_tensor()[:0].clone(), meta=image.meta, applied_operations=image.applied_operations
    )


class SaveResults:
    """Ignite handler: writes a case's results when its labels are there, and completes it.

    Of the image it takes the warnings alone; the voxels are those of ``source``, as they were read.

    Args:
        writer: of the case folders.
    """

    def __init__(self, writer: ResultsWriter) -> None:
        self.writer = writer

    def attach(self, engine: Engine) -> None:
        """Attach behind the evaluator's postprocessing."""
        engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self)

    def __call__(self, engine: Any) -> None:
        item, output, case = engine.state.batch, engine.state.output, engine.state.batch["case"]
        source = item["source"]
        # the reader's warnings, and those of fitness
        warnings = item[Keys.IMAGE].meta.get("warnings", [])
        account = {"input_sha256": item["input_sha256"], "warnings": warnings}
        outputs = self.writer.write(
            case,
            source,
            output[Keys.PRED].cpu(),
            uncertainty=output.get("uncertainty"),
            agreement=output.get("agreement"),
            seconds=time.perf_counter() - item["started"],
            **account,
        )
        account |= {
            "seconds": time.perf_counter() - item["started"],
            "listing_sha256": item["listing_sha256"],
        }
        engine.cohort.complete(case, outputs, **account)
