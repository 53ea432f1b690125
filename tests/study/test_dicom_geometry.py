"""Where slices lie: every geometric trap is right or refused."""

import numpy as np
import pytest
from mcanet.scripts.study import find_cases, read_case

from .phantom import Grid, assert_right, base, classic, ds, only, refusal, rotation, store, write

TURNS = {
    "axial": np.eye(3),
    "sagittal": np.array([[0, 1, 0], [0, 0, -1], [-1, 0, 0]]),
    "coronal": np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]]),
    "oblique": rotation(20, -35, 50),
    "double oblique": rotation(-130, 77, 10),
}


@pytest.mark.parametrize("turn", TURNS)
def test_orientations(tmp_path, turn):
    image = only(write(tmp_path, classic(Grid(axes=TURNS[turn]))))
    assert image.shape == (1, 12, 10, 6)
    assert_right(image)
    assert image.meta["warnings"] == []


def test_value_at_a_position(tmp_path):
    """Column 3, row 2, slice 4 of an axial series, spelled out."""
    image = only(write(tmp_path, classic()))
    x, y, z = -20 + 3 * 1.25, -30 + 2 * 1.5, 12 + 4 * 2.0
    assert float(image[0, 3, 2, 4]) == round(3 * x + 5 * y + 7 * z + 40)
    np.testing.assert_allclose(np.asarray(image.affine) @ [3, 2, 4, 1], [-x, -y, z, 1])
    assert image.meta["space"] == "RAS"
    assert str(image.dtype) == "torch.int16"


def test_shuffled_names_and_instance_numbers(tmp_path):
    datasets = classic()
    for dataset, number in zip(datasets, (4, 1, 6, 2, 5, 3), strict=True):
        dataset.InstanceNumber = number
    order = [3, 0, 5, 1, 4, 2]
    assert_right(only(write(tmp_path, [datasets[i] for i in order])))


def test_descending_slices_and_negative_spacing_between_slices(tmp_path):
    datasets = classic()
    for dataset in datasets:
        dataset.SpacingBetweenSlices = "-2.0"
    assert_right(only(write(tmp_path, datasets[::-1])))


def test_gantry_tilt_is_a_sheared_affine_with_a_warning(tmp_path):
    tilt = 2.0 * np.tan(np.deg2rad(15))
    image = only(write(tmp_path, classic(Grid(shear=(0, tilt, 0)))))
    assert_right(image)
    assert "sheared by 15.00 degrees" in image.meta["warnings"][0]


@pytest.mark.parametrize(
    ("lost", "words"), [([2], "1 slice missing after z = 14.00 mm"), ([2, 3], "2 slices missing")]
)
def test_missing_slices(tmp_path, lost, words):
    datasets = [d for i, d in enumerate(classic()) if i not in lost]
    reason = refusal(write(tmp_path, datasets))
    assert words in reason
    assert reason.startswith("002.dcm: ")


def test_missing_first_slice_warns(tmp_path):
    image = only(write(tmp_path, classic()[1:]))
    assert_right(image)
    assert image.meta["warnings"] == ["InstanceNumber begins at 2: the first or last slices may be missing"]


def test_uneven_spacing(tmp_path):
    datasets = classic()
    datasets[3].ImagePositionPatient = ds(Grid().position(3.1))
    assert "uneven slice spacing after z = 16.00 mm" in refusal(write(tmp_path, datasets))


def test_slowly_growing_gaps(tmp_path):
    """Each gap is within tolerance of the usual one, but the slices drift off the grid."""
    grid = Grid(slices=120)
    datasets = classic(Grid(slices=120))
    for index, dataset in enumerate(datasets):
        dataset.ImagePositionPatient = ds(grid.position(index + 0.00004 * index**2))
    assert "off the straight line" in refusal(write(tmp_path, datasets))


def test_rounded_positions_are_tolerated(tmp_path):
    grid = Grid(step=0.7031)
    datasets = classic(grid)
    for index, dataset in enumerate(datasets):
        dataset.ImagePositionPatient = [f"{v:.2f}" for v in grid.position(index)]
    assert_right(only(write(tmp_path, datasets)), quantum=1.2)


def test_sideways_shift_of_one_slice(tmp_path):
    datasets = classic()
    datasets[3].ImagePositionPatient = ds(np.add(Grid().position(3), (0.8, 0, 0)))
    assert "003.dcm: ImagePositionPatient is" in (reason := refusal(write(tmp_path, datasets)))
    assert "off the straight line" in reason


def test_duplicate_position_names_the_attribute_that_differs(tmp_path):
    datasets = classic() + classic()
    for index, dataset in enumerate(datasets):
        dataset.SeriesInstanceUID = datasets[0].SeriesInstanceUID
        dataset.EchoTime = "10" if index < 6 else "20"
    reason = refusal(write(tmp_path, datasets))
    assert "4D or duplicated" in reason
    assert "EchoTime is '10' and '20'" in reason


def test_one_repeated_position(tmp_path):
    datasets = classic()
    extra = classic()[2]
    extra.SeriesInstanceUID = datasets[0].SeriesInstanceUID
    assert "the same as in" in refusal(write(tmp_path, [*datasets, extra]))


def test_exact_copies_are_dropped_with_a_notice(tmp_path):
    write(tmp_path, datasets := classic())
    write(tmp_path / "copy", datasets[2:4])
    found = find_cases(tmp_path)
    assert_right(read_case(found.cases[0]))
    assert found.notices == (
        "copy/000.dcm: left out, the same bytes as 002.dcm",
        "copy/001.dcm: left out, the same bytes as 003.dcm",
    )


def test_one_uid_with_two_contents(tmp_path):
    datasets = classic()
    other = classic()[2]
    other.SOPInstanceUID = datasets[2].SOPInstanceUID
    other.SeriesInstanceUID = datasets[2].SeriesInstanceUID
    other.ImageComments = "changed"
    assert "the content differs" in refusal(write(tmp_path, [*datasets, other]))


@pytest.mark.parametrize(
    ("keyword", "value", "words"),
    [
        ("ImagePositionPatient", None, "ImagePositionPatient is missing"),
        ("ImageOrientationPatient", None, "ImageOrientationPatient is missing"),
        ("PixelSpacing", None, "PixelSpacing is missing"),
        ("PixelSpacing", ["0", "0"], "expected numbers above 0 mm"),
        ("PixelSpacing", ["-1.5", "1.25"], "expected numbers above 0 mm"),
        ("PixelSpacing", ["1.5"], "expected 2 values"),
        ("ImageOrientationPatient", ["0"] * 6, "expected two perpendicular unit vectors"),
        ("ImageOrientationPatient", ["1", "0", "0", "0.5", "0.866025", "0"], "expected two perpendicular"),
        (
            "ImageOrientationPatient",
            ["2", "0", "0", "0", "2", "0"],
            "expected two perpendicular unit vectors",
        ),
    ],
)
@pytest.mark.parametrize("which", ["all", "one"])
def test_broken_geometry(tmp_path, keyword, value, words, which):
    datasets = classic()
    for dataset in datasets if which == "all" else datasets[2:3]:
        if value is None:
            del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    assert words in refusal(write(tmp_path, datasets))


@pytest.mark.parametrize(
    "text", [b"nan\\0\\0 ", b"inf\\0\\0 ", b"1,5\\0\\0 ", b"abc\\0\\0 ", b"\xff\xfe\\0\\0  "]
)
@pytest.mark.parametrize("which", [slice(None), slice(2, 3)])
def test_positions_that_are_no_numbers(tmp_path, text, which):
    """The bytes are put into the file past pydicom's own checks."""
    datasets = classic()
    for dataset in datasets[which]:
        dataset.ImagePositionPatient = ["7", "7", "7"]
    write(tmp_path, datasets)
    for file in sorted(tmp_path.iterdir())[which]:
        data = file.read_bytes()
        head, tail = data.split(b"\x20\x00\x32\x00DS\x06\x00" + b"7\\7\\7 ")
        text = text + b" " * (len(text) % 2)
        file.write_bytes(head + b"\x20\x00\x32\x00DS" + len(text).to_bytes(2, "little") + text + tail)
    assert "ImagePositionPatient is" in refusal(tmp_path)


def test_no_geometry_at_all_in_ct(tmp_path):
    datasets = classic()
    for dataset in datasets:
        del dataset.ImagePositionPatient, dataset.ImageOrientationPatient
    assert "ImagePositionPatient and ImageOrientationPatient are missing in a CT" in refusal(
        write(tmp_path, datasets)
    )


def test_imager_pixel_spacing_is_no_pixel_spacing(tmp_path):
    datasets = classic()
    for dataset in datasets:
        dataset.ImagerPixelSpacing = dataset.PixelSpacing
        del dataset.PixelSpacing
    assert "PixelSpacing is missing" in refusal(write(tmp_path, datasets))


def test_tiny_orientation_differences_are_tolerated(tmp_path):
    datasets = classic()
    datasets[2].ImageOrientationPatient = ["0.999999", "0.000001", "0", "-0.000001", "1", "0.000002"]
    assert_right(only(write(tmp_path, datasets)))


def test_mixed_orientations(tmp_path):
    datasets = classic()
    turned = Grid(axes=rotation(0, 0, 2))
    datasets[2].ImageOrientationPatient = ds(turned.orientation)
    assert "ImageOrientationPatient is" in (reason := refusal(write(tmp_path, datasets)))
    assert "several orientations" in reason


def test_two_pixel_spacings(tmp_path):
    datasets = classic()
    datasets[4].PixelSpacing = ["1.5", "1.3"]
    assert "a volume needs one pixel spacing" in refusal(write(tmp_path, datasets))


def test_two_matrix_sizes(tmp_path):
    datasets = classic()
    store(datasets[4], Grid(rows=8).plane(4), 1, -1024)
    assert "004.dcm: Rows is 8, but 10 in 000.dcm" in refusal(write(tmp_path, datasets))


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("Modality", "MR"), ("FrameOfReferenceUID", "1.2.3"), ("PhotometricInterpretation", "MONOCHROME1"),
     ("StudyInstanceUID", "1.2.3.4"), ("PatientID", "SOMEONE-ELSE"), ("PatientName", "Else^Someone"),
     ("PatientBirthDate", "19991231")],
)  # fmt: skip
def test_mixtures_under_one_series_uid(tmp_path, keyword, value):
    datasets = classic()
    setattr(datasets[5], keyword, value)
    reason = refusal(write(tmp_path, datasets))
    assert keyword in reason
    assert "Else" not in reason
    assert "SOMEONE" not in reason
    assert "19991231" not in reason


def test_localizer_in_the_series_is_dropped(tmp_path):
    datasets = classic()
    scout = classic(Grid(axes=TURNS["coronal"], slices=1))[0]
    scout.SeriesInstanceUID = datasets[0].SeriesInstanceUID
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    image = only(write(tmp_path, [scout, *datasets]))
    assert_right(image)
    assert "left out 1 localizer" in image.meta["warnings"][0]


def test_localizer_series_is_left_out_with_a_notice(tmp_path):
    write(tmp_path / "a", classic())
    scouts = classic(Grid(axes=TURNS["coronal"], slices=2))
    for scout in scouts:
        scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    write(tmp_path / "b", scouts)
    found = find_cases(tmp_path)
    assert len(found.cases) == 1
    assert found.refused == ()
    assert "b: left out, a series of 2 localizer files" in found.notices[0]


def test_single_slice_takes_its_extent_from_the_thickness(tmp_path):
    image = only(write(tmp_path, classic(Grid(slices=1, axes=TURNS["oblique"]))))
    assert image.shape == (1, 12, 10, 1)
    assert_right(image)
    assert "SliceThickness = 2 mm" in image.meta["warnings"][0]


def test_single_slice_without_thickness_is_refused(tmp_path):
    datasets = classic(Grid(slices=1))
    del datasets[0].SliceThickness
    assert "SliceThickness is None" in refusal(write(tmp_path, datasets))


def test_secondary_capture_class_with_geometry_is_a_volume(tmp_path):
    datasets = classic(modality="MR")
    for dataset in datasets:
        dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    assert_right(only(write(tmp_path, datasets)))


def test_two_series_in_one_folder(tmp_path):
    write(tmp_path, classic(), [f"a{i}" for i in range(6)])
    write(tmp_path, classic(Grid(origin=(1, 2, 3), slices=4)), [f"b{i}" for i in range(4)])
    found = find_cases(tmp_path)
    assert len(found.cases) == 2
    images = [read_case(case) for case in found.cases]
    assert sorted(image.shape[-1] for image in images) == [4, 6]
    for image in images:
        assert_right(image)


def test_files_without_series_uid_are_one_series_by_folder(tmp_path):
    datasets = classic()
    for dataset in datasets:
        dataset.SeriesInstanceUID = ""
        dataset.SOPInstanceUID = ""
    image = only(write(tmp_path, datasets))
    assert_right(image)
    assert "SeriesInstanceUID is missing" in image.meta["warnings"][0]


def test_micrometre_slices_keep_a_tight_tolerance(tmp_path):
    """0.02 mm of tolerance must not swallow slices that are 0.01 mm apart."""
    grid = Grid(step=0.01, row_spacing=0.01, column_spacing=0.01)
    datasets = classic(grid)
    assert "slice missing" in refusal(write(tmp_path, datasets[:2] + datasets[3:]))


def test_two_slices_only(tmp_path):
    assert_right(only(write(tmp_path, classic(Grid(slices=2)))))


def test_spacing_that_contradicts_the_positions_is_reported(tmp_path):
    datasets = classic()
    for dataset in datasets:
        dataset.SpacingBetweenSlices = "1.0"
    image = only(write(tmp_path, datasets))
    assert_right(image)
    assert "SpacingBetweenSlices is 1 mm, but the positions are 2 mm apart" in image.meta["warnings"][0]


def test_images_in_acquisition_tells_of_lost_slices(tmp_path):
    datasets = classic()
    for dataset in datasets:
        dataset.ImagesInAcquisition = "8"
    assert "ImagesInAcquisition is 8" in only(write(tmp_path, datasets)).meta["warnings"][0]


def test_object_without_image_class(tmp_path):
    write(tmp_path, classic())
    other = base("1.3.12.2.1107.5.9.1", "MR", "1.2.3.9")
    other.save_as(tmp_path / "csa.dcm", enforce_file_format=True)
    found = find_cases(tmp_path)
    assert len(found.cases) == 1
    assert found.notices == ("csa.dcm: left out, a DICOM object without an image (Modality MR)",)
