"""Enhanced multi-frame: geometry and scale of each frame."""

import numpy as np
import pytest

from .phantom import Grid, assert_right, ds, enhanced, only, refusal, rotation, sequence, write


def test_in_order(tmp_path):
    image = only(write(tmp_path, enhanced()))
    assert image.shape == (1, 12, 10, 6)
    assert_right(image, quantum=0.5)
    assert image.meta["warnings"] == []


@pytest.mark.parametrize("turn", [(0, 0, 0), (25, -40, 70)])
def test_shuffled_frames(tmp_path, turn):
    grid = Grid(axes=rotation(*turn))
    assert_right(only(write(tmp_path, enhanced(grid, order=[3, 0, 5, 1, 4, 2]))), quantum=0.5)


def test_slopes_by_frame(tmp_path):
    slopes = [0.25, 0.5, 0.1, 0.3, 0.25, 0.2]
    assert_right(only(write(tmp_path, enhanced(slopes=slopes))), quantum=0.5)


def test_missing_frame(tmp_path):
    assert "1 slice missing after z = 16.00 mm" in refusal(write(tmp_path, enhanced(order=[0, 1, 2, 4, 5])))


def test_missing_last_frame_warns(tmp_path):
    image = only(write(tmp_path, enhanced(order=[1, 2, 3, 4, 5])))
    assert "InStackPositionNumber begins at 2" in image.meta["warnings"][0]


@pytest.mark.parametrize("frames", [5, 7])
def test_number_of_frames_that_contradicts_the_groups(tmp_path, frames):
    dataset = enhanced()
    dataset.NumberOfFrames = frames
    assert f"has 6 items, but NumberOfFrames is {frames}" in refusal(write(tmp_path, dataset))


def test_groups_missing(tmp_path):
    dataset = enhanced()
    del dataset.PerFrameFunctionalGroupsSequence
    assert "PerFrameFunctionalGroupsSequence is missing" in refusal(write(tmp_path, dataset))


def test_temporal_positions(tmp_path):
    def second(frame, group):
        group.FrameContentSequence[0].TemporalPositionIndex = 1 + frame // 3

    dataset = enhanced(order=[0, 1, 2, 0, 1, 2], change=second)
    reason = refusal(write(tmp_path, dataset))
    assert "TemporalPositionIndex is '1' and '2'" in reason
    assert "(frame 4)" in reason


def test_two_stacks(tmp_path):
    def other(frame, group):
        group.FrameContentSequence[0].StackID = str(1 + frame // 3)

    assert "StackID" in refusal(write(tmp_path, enhanced(change=other)))


def test_two_orientations(tmp_path):
    def turn(frame, group):
        if frame == 2:
            group.PlaneOrientationSequence = sequence(
                ImageOrientationPatient=ds(Grid(axes=rotation(0, 30, 0)).orientation)
            )

    assert "ImageOrientationPatient is" in refusal(write(tmp_path, enhanced(change=turn)))


def test_frame_without_position(tmp_path):
    def drop(frame, group):
        if frame == 4:
            del group.PlanePositionSequence

    assert "(frame 5): ImagePositionPatient is missing" in refusal(write(tmp_path, enhanced(change=drop)))


def test_frame_without_scale(tmp_path):
    def drop(frame, group):
        if frame == 4:
            del group.PixelValueTransformationSequence

    assert "(frame 5): RescaleSlope is missing" in refusal(write(tmp_path, enhanced(change=drop)))


def test_scale_of_zero(tmp_path):
    def zero(frame, group):
        if frame == 4:
            group.PixelValueTransformationSequence[0].RescaleSlope = "0"

    assert "(frame 5): RescaleSlope is 0.0" in refusal(write(tmp_path, enhanced(change=zero)))


def test_localizer_frames_are_dropped(tmp_path):
    def scout(frame, group):
        kind = ["ORIGINAL", "PRIMARY", "LOCALIZER" if frame == 0 else "VOLUME", "NONE"]
        group.MRImageFrameTypeSequence = sequence(FrameType=kind)
        if frame == 0:
            group.PlaneOrientationSequence = sequence(
                ImageOrientationPatient=ds(Grid(axes=rotation(90, 0, 0)).orientation)
            )

    image = only(write(tmp_path, enhanced(change=scout)))
    assert image.shape[-1] == 5
    assert_right(image, quantum=0.5)


def test_truncated_frames(tmp_path):
    write(tmp_path, enhanced())
    file = tmp_path / "000.dcm"
    file.write_bytes(file.read_bytes()[:-50])
    assert "truncated" in refusal(tmp_path)


def test_one_frame(tmp_path):
    image = only(write(tmp_path, enhanced(order=[3])))
    assert image.shape == (1, 12, 10, 1)
    assert_right(image, quantum=0.5)


def test_series_of_several_enhanced_files(tmp_path):
    first, second = enhanced(order=[0, 2, 4]), enhanced(order=[5, 1, 3])
    second.SeriesInstanceUID = first.SeriesInstanceUID
    image = only(write(tmp_path, [first, second]))
    assert_right(image, quantum=0.5)


def test_classic_film_without_frame_geometry(tmp_path):
    """A cine run has one position at most: it is no volume."""
    dataset = enhanced()
    del dataset.PerFrameFunctionalGroupsSequence, dataset.SharedFunctionalGroupsSequence
    dataset.Modality = "US"
    assert "6 frames without ImagePositionPatient" in refusal(write(tmp_path, dataset))
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = ["0"] * 3, ["1", "0", "0", "0", "1", "0"]
    dataset.PixelSpacing = ["1", "1"]
    assert "ImagePositionPatient" in refusal(write(tmp_path / "b", dataset))


def test_values_are_per_frame_not_shared(tmp_path):
    """One voxel spelled out: frame 4 shows slice 1."""
    image = only(write(tmp_path, enhanced(order=[3, 0, 5, 4, 1, 2])))
    assert float(image[0, 2, 3, 1]) == pytest.approx(float(Grid().plane(1)[3, 2]), abs=0.26)
    assert np.asarray(image.affine)[2, 2] == pytest.approx(2.0)
