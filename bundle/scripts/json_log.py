"""The log as JSON, one object a line, for programs that collect logs."""

import logging
import logging.config

from . import BUNDLE_ROOT

KEYS = {"asctime": "time", "levelname": "level", "name": "logger"}


def log_as_json() -> None:
    """Have this process log to standard output as ``configs/logging.conf`` says, but one JSON object a line.

    MONAI allows no formatter of another package in such a file, so it must not read one afterwards: the run is
    to be given ``--logging_file False``.
    """
    import monai.bundle.workflows
    from pythonjsonlogger.json import JsonFormatter

    logging.config.fileConfig(BUNDLE_ROOT / "configs" / "logging.conf", disable_existing_loggers=False)
    formatter = JsonFormatter(
        "{asctime}{levelname}{name}{message}", "%Y-%m-%dT%H:%M:%S%z", "{", rename_fields=KEYS
    )
    for handler in logging.getLogger().handlers:
        handler.setFormatter(formatter)
    for name in [name for name in logging.root.manager.loggerDict if name.startswith("monai")]:
        logging.getLogger(name).handlers.clear()  # of MONAI's own format
    # it warns that it reads no such file
    logging.getLogger(monai.bundle.workflows.__name__).setLevel(logging.ERROR)
