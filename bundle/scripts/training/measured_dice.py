"""The mean Dice that validation chooses weights by."""

import logging

from monai.handlers import MeanDice

logger = logging.getLogger(__name__)


class MeasuredDice(MeanDice):
    """MONAI's MeanDice, but NaN where no case holds a label, which it gives as 0: the first weights would stay the best."""

    def compute(self) -> float:
        """The mean over cases and labels that are there."""
        result = float(super().compute())
        if not self.metric_fn.get_buffer().isnan().all():
            return result
        logger.warning(
            "no case that validates holds a label, so nothing was measured: the last weights are kept, not the best"
        )
        return float("nan")
