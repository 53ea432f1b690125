"""How an output folder is laid out when a run ends."""

from collections.abc import Sequence

from ignite.engine import Engine, Events

from ..plain_exit import plain_exit
from ..results import Label, Manifest, is_our_bids, write_bids

LAYOUTS = ("cases", "bids")


class LayOut:
    """Ignite handler: when the run is over, its output folder also becomes a BIDS derivative, if that is asked for.

    What an earlier run made one stays one, or its masks would not be those of the case folders any more.

    Args:
        layout: ``"cases"``, a folder a case alone, or ``"bids"``, see :func:`scripts.results.write_bids`.
        manifest: the output folder's account.
        labels: the table of the task's labels.

    Raises:
        SystemExit: there is no such layout; as a handler: the folder cannot be laid out.
    """

    def __init__(self, layout: str, manifest: Manifest, labels: Sequence[Label]) -> None:
        if layout not in LAYOUTS:
            raise SystemExit(f"no layout {layout!r}: expected one of {', '.join(LAYOUTS)}")
        self.layout, self.manifest, self.labels = layout, manifest, labels

    def attach(self, engine: Engine) -> None:
        """Attach to the evaluator."""
        if self.layout == "bids" or is_our_bids(self.manifest.output_dir):
            engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self) -> None:
        with plain_exit("cannot lay out the results as BIDS"), self.manifest.turn():
            write_bids(self.manifest.output_dir, self.labels)
