"""Images whose channels lie in a file each."""

from pathlib import Path

import numpy as np
import pytest
from mcanet.scripts.study import RefusedError, check_found, find_cases, read_case
from PIL import Image

from ..planning.layouts import nnunet, save


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return nnunet(tmp_path) / "imagesTr"


def test_the_files_of_an_image_are_one_case_in_their_order(folder: Path) -> None:
    found = find_cases(folder, channel_files=2)
    assert [case.case_id for case in found.cases] == ["brain_0", "brain_1", "brain_2"]
    assert {info.channels for info in found.info.values()} == {2}
    image = read_case(found.cases[1])
    for channel, name in enumerate(("brain_1_0000.nii.gz", "brain_1_0001.nii.gz")):
        alone = read_case(find_cases(folder / name).cases[0])
        assert np.array_equal(image[channel], alone[0])
    assert len(find_cases(folder).cases) == 6


def test_an_image_that_lacks_a_channel_is_refused_and_the_others_are_not(folder: Path) -> None:
    (folder / "brain_1_0001.nii.gz").unlink()
    save(np.zeros((4, 4, 4), np.int16), folder / "stray.nii.gz")
    found = find_cases(folder, channel_files=2)
    assert [case.case_id for case in found.cases] == ["brain_0", "brain_2"]
    reasons = dict((case.input, reason) for case, reason in found.refused)
    assert "found the channels _0000, expected _0000 to _0001" in reasons["brain_1_0000.nii.gz"]
    assert "takes 2 files an image" in reasons["stray.nii.gz"]


def test_two_files_of_one_channel_are_refused_by_name(folder: Path) -> None:
    save(np.zeros((32, 32, 24), np.int16), folder / "brain_1_0000.nii")
    found = find_cases(folder, channel_files=2)
    assert [case.case_id for case in found.cases] == ["brain_0", "brain_2"]
    ((case, reason),) = found.refused
    assert {case.input, reason.split(":")[0]} == {"brain_1_0000.nii.gz", "brain_1_0000.nii"}
    assert "another file is the same channel" in reason


def test_pages_of_channels_are_a_case_each(tmp_path: Path) -> None:
    for channel in range(2):
        first, *more = (Image.fromarray(np.full((8, 9), 10 * channel + page, np.uint8)) for page in range(3))
        first.save(tmp_path / f"cells_000{channel}.tif", save_all=True, append_images=more)
    found = find_cases(tmp_path, channel_files=2, split_pages=True)
    assert [case.case_id for case in found.cases] == ["cells-p1", "cells-p2", "cells-p3"]
    assert [read_case(case)[:, 0, 0].tolist() for case in found.cases] == [[0, 10], [1, 11], [2, 12]]


def test_channels_on_two_grids_are_refused_by_name(folder: Path) -> None:
    save(np.zeros((32, 32, 24), np.int16), folder / "brain_0_0001.nii.gz", (1.0, 1.0, 2.0))
    (case, *_) = find_cases(folder, channel_files=2).cases
    with pytest.raises(RefusedError, match="brain_0_0001.nii.gz and brain_0_0000.nii.gz: their affines lie"):
        read_case(case)


def test_one_channel_alone_is_refused_by_a_task_of_two(folder: Path) -> None:
    rows = check_found(find_cases(folder), rules={"channels": 2})
    assert {row.status for row in rows} == {"refused"}
