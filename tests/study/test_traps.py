"""Surprises beyond the list: mixed encodings, contradicting headers, workers of a data loader."""

import numpy as np
import pytest
from mcanet.scripts.study import LoadStudyd, find_cases, read_case
from monai.data import DataLoader, Dataset
from monai.transforms import Compose
from pydicom import dcmread, dcmwrite
from pydicom.encaps import encapsulate
from pydicom.fileset import FileSet
from pydicom.uid import ExplicitVRBigEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from .phantom import (
    Grid,
    assert_right,
    classic,
    ds,
    enhanced,
    item,
    only,
    reason_of,
    refusal,
    rotation,
    write,
)
from .test_dicom_values import encode

BIG = Grid(columns=36, rows=34)


def test_a_mosaic_is_refused(tmp_path):
    """Siemens: the slices of a volume side by side in one image, placed as no slice is."""
    datasets = classic(modality="MR", rescale=False)
    datasets[0].ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
    write(tmp_path, datasets[:1])
    assert "ImageType MOSAIC" in refusal(tmp_path)


@pytest.mark.parametrize("lost", [0, 1, 2])
@pytest.mark.parametrize("told", [True, False])
def test_a_concatenation_that_lacks_a_part_is_refused(tmp_path, lost, told):
    if lost == 2 and not told:
        pytest.skip("nothing tells")
    grid, parts = Grid(), [[0, 1], [2, 3], [4, 5]]
    first = enhanced(grid, order=parts[0])
    for number, order in enumerate(parts):
        part = enhanced(grid, order=order)
        part.StudyInstanceUID, part.SeriesInstanceUID = first.StudyInstanceUID, first.SeriesInstanceUID
        part.FrameOfReferenceUID = first.FrameOfReferenceUID
        part.ConcatenationUID, part.InConcatenationNumber = "1.2.3", number + 1
        if told:
            part.InConcatenationTotalNumber = 3
        if number != lost:
            write(tmp_path / str(number), part)
    assert f"part {lost + 1} of the 3 of its concatenation" in refusal(tmp_path)


@pytest.mark.parametrize(("keyword", "values"), [("FlipAngle", (8, 25)), ("KVP", (80, 140))])
def test_two_acquisitions_whose_slices_lie_interleaved_are_warned_of(tmp_path, keyword, values):
    datasets = classic()
    for i, dataset in enumerate(datasets):
        setattr(dataset, keyword, values[i % 2])
    write(tmp_path, datasets)
    (info,) = find_cases(tmp_path).info.values()
    assert [text for text in info.warnings if text.startswith(f"{keyword} is") and "in one series" in text]


@pytest.mark.parametrize(
    ("lost", "reason"), [(0, ""), (2, "is named in the DICOMDIR and not there"), (6, "")]
)
def test_a_disc_of_which_half_was_copied(tmp_path, lost, reason):
    disc = FileSet()
    for dataset in classic():
        dataset.StudyDate, dataset.StudyTime, dataset.StudyID, dataset.SeriesNumber = "20260102", "10", "1", 1
        disc.add(dataset)
    disc.write(tmp_path / "disc")
    files = sorted(
        file for file in (tmp_path / "disc").rglob("*") if file.is_file() and file.name != "DICOMDIR"
    )
    for file in files[6 - lost :]:
        file.rename(file.with_name(f"renamed_{file.name}")) if lost == 6 else file.unlink()
    found = find_cases(tmp_path / "disc")
    assert [text for _, text in found.refused if reason in text] == [text for _, text in found.refused]
    assert len(found.refused) == bool(reason)
    assert len(found.cases) == (not reason)


def test_fewer_slices_than_pet_tells_of_are_warned_of(tmp_path):
    datasets = classic(modality="PT")
    for dataset in datasets:
        dataset.NumberOfSlices = len(datasets)
    write(tmp_path / "part", datasets[:-1])
    write(tmp_path / "whole", datasets)
    (info,) = find_cases(tmp_path / "part").info.values()
    assert f"NumberOfSlices is {len(datasets)}, but there are {len(datasets) - 1} slices" in info.warnings
    (info,) = find_cases(tmp_path / "whole").info.values()
    assert not [text for text in info.warnings if "NumberOfSlices" in text]


@pytest.mark.parametrize(("kind", "told"), [("HU", False), ("hu", False), ("MGML", True), ("US", True)])
def test_ct_that_says_it_is_not_in_hounsfield_units_is_warned_of(tmp_path, kind, told):
    datasets = classic()
    for dataset in datasets:
        dataset.RescaleType = kind
    write(tmp_path, datasets)
    (info,) = find_cases(tmp_path).info.values()
    assert told == any("RescaleType is" in text for text in info.warnings)


def test_every_slice_in_another_transfer_syntax(tmp_path):
    datasets = classic(BIG)
    for dataset, syntax in zip(datasets[:3], (RLELossless, JPEG2000Lossless, JPEGLSLossless), strict=True):
        dataset.compress(syntax, generate_instance_uid=False)
    write(tmp_path, datasets[:5])
    last = datasets[5]
    last.PixelData = np.frombuffer(last.PixelData, "<i2").astype(">i2").tobytes()
    encode(last, tmp_path / "005.dcm", ExplicitVRBigEndian)
    assert_right(only(tmp_path))


def test_implicit_data_under_an_explicit_syntax(tmp_path):
    """Some writers forget to change the transfer syntax: the data set itself tells."""
    for dataset in classic():
        dcmwrite(tmp_path / "x", dataset, implicit_vr=False, little_endian=True, enforce_file_format=True)
        meta = (tmp_path / "x").read_bytes()
        end = 144 + int.from_bytes(meta[140:144], "little")
        (tmp_path / "x").unlink()
        plain = dataset.copy()
        del plain.file_meta
        plain.preamble = None
        name = tmp_path / f"{dataset.InstanceNumber}.dcm"
        plain.save_as(name, implicit_vr=True, little_endian=True, force_encoding=True)
        name.write_bytes(meta[:end] + name.read_bytes())
    assert_right(only(tmp_path))


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"PhotometricInterpretation": "RGB"}, "contradict each other"),
        ({"SamplesPerPixel": 3}, "truncated|contradict"),
        ({"SamplesPerPixel": 0}, "SamplesPerPixel is 0, expected 1 to 3"),
        ({"SamplesPerPixel": 2}, "SamplesPerPixel is 2"),
        ({"Rows": 0}, "Rows is 0, expected 1 to 65535"),
        ({"Columns": None}, "Columns is missing"),
        ({"BitsAllocated": None}, "BitsAllocated is missing"),
        ({"BitsAllocated": 32}, "truncated"),
        ({"BitsAllocated": 8}, "do not fit together"),
        ({"PixelRepresentation": None}, "the sign is unknown"),
        ({"PixelRepresentation": 2}, "PixelRepresentation is 2"),
        ({"NumberOfFrames": "0"}, "NumberOfFrames is 0"),
        ({"NumberOfFrames": "2"}, "truncated"),
        ({"Columns": 6}, "expected 120 for Rows, Columns"),
        ({"SliceThickness": "thin"}, "SliceThickness is"),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value")
def test_contradicting_headers(tmp_path, attributes, words):
    datasets = classic()
    for dataset in datasets:
        for keyword, value in attributes.items():
            if value is None:
                del dataset[keyword]
            elif value == "thin":
                dataset.add_new(keyword, "LO", value)
            else:
                setattr(dataset, keyword, value)
    reason = reason_of(write(tmp_path, datasets))
    assert any(word in reason for word in words.split("|")), reason


def test_a_sequence_in_place_of_a_value_is_not_printed(tmp_path):
    write(tmp_path, classic())
    file = tmp_path / "002.dcm"
    dataset = dcmread(file)
    dataset.add_new("ImagePositionPatient", "SQ", [item(PatientName="Quill^Peregrine")])
    dataset.save_as(file)
    reason = reason_of(tmp_path)
    assert "002.dcm" in reason
    assert "Quill" not in reason


def test_a_malformed_instance_number_is_no_reason_to_refuse(tmp_path):
    datasets = classic()
    for dataset in datasets:
        dataset.add_new("InstanceNumber", "LO", "first")
    assert_right(only(write(tmp_path, datasets)))


def test_swollen_frame(tmp_path):
    datasets = classic()
    for dataset in datasets:
        dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
        dataset.PixelData = encapsulate([b"\xff\x4f\xff\x51" + b"\0" * 200_000])
        dataset["PixelData"].is_undefined_length = True
    assert "more than twice" in reason_of(write(tmp_path, datasets))


def test_j2k_that_claims_a_gigantic_size(tmp_path):
    """Its own header says 65535 x 65535: refused before a decoder takes memory."""
    datasets = classic(BIG)
    for dataset in datasets:
        dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
        dataset.PixelData = dataset.PixelData.replace(
            (36).to_bytes(4, "big") + (34).to_bytes(4, "big"), b"\0\0\xff\xff" * 2
        )
    assert "Rows is 34, but the compressed frame says 65535" in reason_of(write(tmp_path, datasets))


def test_frames_of_two_pixel_spacings(tmp_path):
    def wider(frame, group):
        group.PixelMeasuresSequence = [
            item(PixelSpacing=ds([1.5, 1.25 + 0.1 * (frame == 2)]), SliceThickness="2")
        ]

    assert "a volume needs one pixel spacing" in refusal(write(tmp_path, enhanced(change=wider)))


def test_frame_groups_override_the_root(tmp_path):
    """Rescale at the root of an enhanced file is a leftover where the frames have their own."""
    dataset = enhanced()
    dataset.RescaleSlope, dataset.RescaleIntercept = "77", "99"
    assert_right(only(write(tmp_path, dataset)), quantum=0.5)


def test_opposite_normals(tmp_path):
    """One slice whose columns run the other way."""
    datasets = classic()
    datasets[3].ImageOrientationPatient = ["1", "0", "0", "0", "-1", "0"]
    assert "several orientations" in refusal(write(tmp_path, datasets))


def test_left_handed_series(tmp_path):
    """Files in descending order and a normal that points down."""
    grid = Grid(axes=rotation(180, 0, 30))
    assert_right(only(write(tmp_path, classic(grid)[::-1])))


def test_data_loader_workers_decode_too(tmp_path):
    """Forked workers are daemons, which may start no process by multiprocessing."""
    for name in ("a", "b"):
        datasets = classic(BIG)
        for dataset in datasets:
            dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
        write(tmp_path / name, datasets)
    cases = find_cases(tmp_path).cases
    expected = [read_case(case) for case in cases]
    loader = DataLoader(
        Dataset([{"image": case} for case in cases], Compose([LoadStudyd(["image"])])),
        num_workers=2,
        batch_size=1,
    )
    for batch, image in zip(loader, expected, strict=True):
        np.testing.assert_array_equal(batch["image"][0].numpy(), image.numpy())


def _split(datasets, keyword, first, second):
    for index, dataset in enumerate(datasets):
        value = second if index % 2 else first
        if value is not None:
            setattr(dataset, keyword, value)
    return datasets


@pytest.mark.parametrize(
    ("keyword", "first", "second"),
    [
        ("ImageType", ["ORIGINAL", "PRIMARY", "M", "ND"], ["ORIGINAL", "PRIMARY", "P", "ND"]),
        ("TemporalPositionIdentifier", "100", "101"),
        ("DiffusionBValue", 1000.0, 1005.0),
        ("EchoTime", "10", "80"),
    ],
)
def test_two_kinds_of_image_in_one_series_are_refused(tmp_path, keyword, first, second):
    datasets = _split(classic(modality="MR", rescale=False), keyword, first, second)
    if keyword in ("EchoTime", "ImageType"):  # what the first slice does not tell, the others may
        setattr(datasets[0], keyword, {"EchoTime": "", "ImageType": ["ORIGINAL", "PRIMARY"]}[keyword])
    reason = refusal(write(tmp_path, datasets))
    assert keyword in reason
    assert "several volumes under one SeriesInstanceUID" in reason


def test_magnitude_and_phase_in_one_enhanced_file_are_refused(tmp_path):
    def kind(frame, group):
        component = "PHASE" if frame % 2 else "MAGNITUDE"
        frame_type = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
        group.MRImageFrameTypeSequence = [item(FrameType=frame_type, ComplexImageComponent=component)]

    assert "ComplexImageComponent is" in refusal(write(tmp_path, enhanced(change=kind)))


@pytest.mark.parametrize(
    ("keyword", "first", "second", "told"),
    [
        ("EchoTime", "10", None, "EchoTime is missing in 3 of 6 slices: slices of two acquisitions?"),
        ("ImageType", ["DERIVED", "PRIMARY", "WATER"], ["DERIVED", "PRIMARY", "FAT"], "ImageType is"),
        ("InstanceNumber", 1, 2, "InstanceNumber comes twice in one series: slices of two acquisitions?"),
    ],
)
def test_slices_that_may_be_of_two_acquisitions_are_warned_of(tmp_path, keyword, first, second, told):
    image = only(write(tmp_path, _split(classic(), keyword, first, second)))
    assert any(told in warning for warning in image.meta["warnings"]), image.meta["warnings"]


@pytest.mark.parametrize("keyword", ["SeriesNumber", "SeriesDescription", "SequenceName"])
def test_two_series_without_uid_in_one_folder_are_no_volume(tmp_path, keyword):
    datasets = _split(classic(), keyword, "3", "77")
    for dataset in datasets:
        dataset.SeriesInstanceUID = ""
    assert f"{keyword} is" in refusal(write(tmp_path, datasets))


def test_one_patient_whose_slices_tell_more_or_less_of_them(tmp_path):
    datasets = classic()
    datasets[3].PatientName = "Quill^Peregrine^^^"
    datasets[4].OtherPatientIDs = "X1234"
    del datasets[5].PatientBirthDate
    assert_right(only(write(tmp_path, datasets)))


@pytest.mark.parametrize(
    ("keyword", "value", "told"),
    [("PatientID", "4.2.", "the gap is 4 mm, elsewhere 2 mm"), ("PatientID", "2", "elsewhere 2 mm"),
     ("PatientName", "Missing^Gap", "1 slice missing after"), ("PatientName", "Oth^Elsewhere", "elsewhere 2 mm")],
)  # fmt: skip
def test_our_own_words_and_figures_are_no_patients(tmp_path, keyword, value, told):
    datasets = classic()
    for dataset in datasets:
        setattr(dataset, keyword, value)
    assert told in refusal(write(tmp_path, datasets[:2] + datasets[3:]))


def test_meta_information_without_preamble(tmp_path):
    """The transfer syntax stands in it all the same."""
    for dataset in classic():
        file = tmp_path / f"IM{dataset.InstanceNumber}"
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
        encode(dataset, file, ExplicitVRBigEndian)
        file.write_bytes(file.read_bytes()[132:])
    assert_right(only(tmp_path))


@pytest.mark.parametrize(
    ("folder", "name"), [("Quill's MRI", "{}.dcm"), ("a", "b 'x{}.dcm"), ("a", 'c"{}.dcm')]
)
def test_names_with_apostrophes_hide_no_quotation(tmp_path, folder, name):
    datasets = _split(classic(), "StackID", "Quill", "1")
    write(tmp_path / folder, datasets, [name.format(i) for i in range(len(datasets))])
    reason = refusal(tmp_path)
    assert "but '***' in" in reason
    assert "Quill" not in reason


@pytest.mark.parametrize(
    ("keyword", "first", "second"),
    [
        ("ImageType", ["ORIGINAL", "PRIMARY", "M_FFE"], ["ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"]),
        ("DiffusionBValue", 1000.0, 1000.01),
    ],
)
def test_one_volume_told_of_in_two_ways_is_read(tmp_path, keyword, first, second):
    assert_right(only(write(tmp_path, _split(classic(), keyword, first, second))))


def test_patients_that_differ_in_their_other_ids_alone(tmp_path):
    datasets = classic()
    for index, dataset in enumerate(datasets):
        dataset.PatientName = dataset.PatientID = "ANON"
        dataset.OtherPatientIDsSequence = [item(PatientID=f"ZZ{100 + index // 3}")]
    reason = refusal(write(tmp_path, datasets))
    assert "OtherPatientIDsSequence differs" in reason
    assert "ZZ1" not in reason
