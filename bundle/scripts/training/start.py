"""What a training opens; what cannot be opened ends the process with one sentence."""

from ..networks import start_from
from ..plain_exit import plain_exit
from .datalist import labelled_datalist

open_datalist = plain_exit("cannot use the data set")(labelled_datalist)
open_weights = plain_exit("cannot start from the weights")(start_from)
