"""A value quoted in a warning stays out of the log, also while one case is read and another one written."""

import logging
import warnings
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from mcanet.scripts.results.sources import discreet
from mcanet.scripts.study.quiet import quiet


def test_a_thread_that_leaves_first_does_not_end_the_silence_of_another(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reading, writing, read = Event(), Event(), Event()

    def read_a_case() -> None:
        with quiet():
            reading.set()
            assert writing.wait(10)
        read.set()

    def write_a_case() -> None:
        assert reading.wait(10)
        with discreet("a DICOM SEG"):
            writing.set()
            assert read.wait(10)
            warnings.warn("Doe^Jane", stacklevel=1)
            logging.getLogger("pydicom").warning("Doe^Jane")

    with warnings.catch_warnings(record=True) as heard, ThreadPoolExecutor(2) as pool:
        warnings.simplefilter("always")
        for job in [pool.submit(read_a_case), pool.submit(write_a_case)]:
            job.result()
        assert not heard
        assert not caplog.records
        warnings.warn("after both, warnings are heard again", stacklevel=1)
        logging.getLogger("pydicom").warning("and so is the log")
        assert len(heard) == len(caplog.records) == 1
