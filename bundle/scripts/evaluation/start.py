"""What an evaluation opens besides data and weights."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..plain_exit import plain_exit
from ..results import Label, label_table


@plain_exit("cannot evaluate")
def open_labels(labels: Sequence[Mapping[str, Any]], out_channels: int) -> tuple[Label, ...]:
    """The label table, one label for each class above the background.

    Raises:
        SystemExit: it is malformed, or its values are not 1 to ``out_channels`` - 1.
    """
    table = label_table(labels)
    if [label.value for label in table] != list(range(1, out_channels)):
        raise ValueError(
            f"out_channels is {out_channels}, but the labels have the values {[label.value for label in table]}; "
            "name each class from 1 once in the task's labels"
        )
    return table
