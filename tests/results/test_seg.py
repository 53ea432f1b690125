"""DICOM SEG: names by value, geometry, references, and that other readers agree."""

import itertools
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcanet.scripts import __version__
from mcanet.scripts.results import Label, write_seg
from mcanet.scripts.results.segframes import pack_frames
from mcanet.scripts.study import find_cases, read_case
from monai.data import MetaTensor, PydicomReader
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from scipy.spatial import KDTree

from .phantom import BIRTH, GEOMETRIES, LPS_TO_RAS, NAME, PATIENT_ID, Phantom, table, write_series

SHA = "0123456789abcdef" * 4


def _write(phantom: Phantom, path: Path, labels: tuple[Label, ...] | None = None, **options: object) -> Path:
    write_seg(phantom.labels, phantom.case, labels or table(), path, model_sha256=SHA, **options)  # type: ignore[arg-type]
    return path


def _voxels(path: Path) -> dict[str, np.ndarray]:
    """Places (N, 3) in RAS mm of the pixels of each segment, read frame by frame with pydicom alone."""
    data = pydicom.dcmread(path)
    shared = data.SharedFunctionalGroupsSequence[0]
    spacing = [float(v) for v in shared.PixelMeasuresSequence[0].PixelSpacing]
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    names = {item.SegmentNumber: item.SegmentLabel for item in data.SegmentSequence}
    pixels = data.pixel_array.reshape(-1, data.Rows, data.Columns)
    places: dict[str, list[np.ndarray]] = {name: [] for name in names.values()}
    for frame, item in zip(pixels, data.PerFrameFunctionalGroupsSequence, strict=True):
        origin = np.array(item.PlanePositionSequence[0].ImagePositionPatient, float)
        for value in np.unique(frame[frame > 0]).tolist():
            number = value
            if data.SegmentationType == "BINARY":
                number = item.SegmentIdentificationSequence[0].ReferencedSegmentNumber
            rows, columns = np.nonzero(frame == value)
            lps = (
                origin
                + np.outer(columns * spacing[1], cosines[:3])
                + np.outer(rows * spacing[0], cosines[3:])
            )
            places[names[number]].append(lps @ LPS_TO_RAS[:3, :3])
    return {name: np.concatenate(parts) if parts else np.zeros((0, 3)) for name, parts in places.items()}


def _expected(phantom: Phantom, value: int) -> np.ndarray:
    affine = phantom.image.affine.numpy()
    return np.argwhere(phantom.labels[0].numpy() == value) @ affine[:3, :3].T + affine[:3, 3]


def _apart(found: np.ndarray, expected: np.ndarray) -> float:
    """How far two sets of places are from being the same, in mm."""
    if len(found) != len(expected):
        return np.inf
    if not len(found):
        return 0.0
    return float(max(KDTree(a).query(b)[0].max() for a, b in ((found, expected), (expected, found))))


@pytest.mark.parametrize("labelmap", [False, True])
@pytest.mark.parametrize("enhanced", [False, True])
@pytest.mark.parametrize("name", sorted(GEOMETRIES))
def test_every_voxel_is_where_it_was(tmp_path: Path, name: str, enhanced: bool, labelmap: bool) -> None:
    phantom = write_series(tmp_path / "in", GEOMETRIES[name], enhanced=enhanced, descending=True)
    found = _voxels(_write(phantom, tmp_path / "seg.dcm", labelmap=labelmap))
    for label in table():
        expected = _expected(phantom, label.value)
        assert len(expected) > 0
        assert _apart(found[label.name], expected) < 1e-3


@pytest.mark.parametrize("labelmap", [False, True])
@pytest.mark.parametrize("values", [(1, 3), (2,), (3,), ()])
def test_names_follow_the_values(tmp_path: Path, values: tuple[int, ...], labelmap: bool) -> None:
    phantom = write_series(tmp_path / "in", GEOMETRIES["oblique"], values=values)
    path = _write(phantom, tmp_path / "seg.dcm", labelmap=labelmap)
    found = _voxels(path)
    for label in table():
        assert len(found[label.name]) == len(_expected(phantom, label.value))
    segments = {s.SegmentLabel: s for s in hd.seg.segread(path).SegmentSequence if s.SegmentNumber}
    assert list(segments) == ["liver", "spleen", "left kidney"]
    kidney = segments["left kidney"].SegmentedPropertyTypeCodeSequence[0]
    assert (kidney.CodeValue, kidney.CodingSchemeDesignator) == ("64033007", "SCT")
    assert kidney.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"


@pytest.mark.parametrize("labelmap", [False, True])
def test_a_table_with_gaps(tmp_path: Path, labelmap: bool) -> None:
    liver, _, kidney = table()
    gaps = (
        Label(7, "kidney", (1, 2, 3), kidney.category, kidney.type),
        Label(200, "liver", (4, 5, 6), liver.category, liver.type),
    )
    phantom = write_series(tmp_path / "in", GEOMETRIES["axial"], values=(200, 7))
    found = _voxels(_write(phantom, tmp_path / "seg.dcm", gaps, labelmap=labelmap))
    for label in gaps:
        assert _apart(found[label.name], _expected(phantom, label.value)) < 1e-3


def test_refuses_values_outside_the_table_and_grids_off_the_series(tmp_path: Path) -> None:
    phantom = write_series(tmp_path / "in", GEOMETRIES["axial"])
    with pytest.raises(ValueError, match=r"holds the values \[2, 3\]"):
        _write(phantom, tmp_path / "seg.dcm", table()[:1])
    with pytest.raises(ValueError, match="orientation and spacing"):
        _write(phantom, tmp_path / "seg.dcm", affine=phantom.image.affine.numpy() @ np.diag([1, 1.1, 1, 1]))
    shifted = phantom.image.affine.numpy().copy()
    shifted[2, 3] += 1.2
    with pytest.raises(ValueError, match="slice 1 of the mask"):
        _write(phantom, tmp_path / "seg.dcm", affine=shifted)
    assert not (tmp_path / "seg.dcm").exists()


def test_a_vanished_source_is_named(tmp_path: Path) -> None:
    phantom = write_series(tmp_path / "in", GEOMETRIES["axial"])
    phantom.case.files[4].unlink()
    with pytest.raises(FileNotFoundError, match=rf"in/{phantom.case.files[4].name} vanished"):
        _write(phantom, tmp_path / "seg.dcm")


def test_refers_to_each_slice_and_says_what_made_it(tmp_path: Path) -> None:
    phantom = write_series(tmp_path / "in", GEOMETRIES["oblique"])
    segmentation = hd.seg.segread(_write(phantom, tmp_path / "seg.dcm"))
    sources = {str(h.SOPInstanceUID): h for h in map(pydicom.dcmread, phantom.case.files)}
    listed = segmentation.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert {item.ReferencedSOPInstanceUID for item in listed} == set(sources)
    for item in segmentation.PerFrameFunctionalGroupsSequence:
        reference = item.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        place = item.PlanePositionSequence[0].ImagePositionPatient
        assert list(sources[reference].ImagePositionPatient) == list(place)
    one = next(iter(sources.values()))
    for keyword in (
        "StudyInstanceUID",
        "FrameOfReferenceUID",
        "PatientName",
        "PatientID",
        "PatientBirthDate",
    ):
        assert segmentation[keyword].value == one[keyword].value
    algorithm = segmentation.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("MCANet", __version__)
    assert SHA in algorithm.AlgorithmParameters
    assert segmentation.DeviceSerialNumber == SHA
    assert segmentation.SegmentSequence[0].SegmentAlgorithmType == "AUTOMATIC"


def test_highdicom_reads_back_the_mask_by_source_instance(tmp_path: Path) -> None:
    phantom = write_series(tmp_path / "in", GEOMETRIES["oblique"], descending=True)
    segmentation = hd.seg.segread(_write(phantom, tmp_path / "seg.dcm"))
    headers = [pydicom.dcmread(f, stop_before_pixels=True) for f in phantom.case.files]
    headers.sort(key=lambda h: -h.InstanceNumber)  # descending: the highest number is the first slice
    pixels = segmentation.get_pixels_by_source_instance(
        [h.SOPInstanceUID for h in headers], combine_segments=True, assert_missing_frames_are_empty=True
    )
    assert np.array_equal(pixels.transpose(2, 1, 0), phantom.labels[0].numpy())


@pytest.mark.parametrize("name", ["axial", "oblique", "sagittal", "coronal"])
def test_monai_reads_it_with_frames_of_all_slices(tmp_path: Path, name: str) -> None:
    phantom = write_series(tmp_path / "in", GEOMETRIES[name], values=(1, 3))
    reader = PydicomReader()
    array, meta = reader.get_data(reader.read(str(_write(phantom, tmp_path / "seg.dcm", all_slices=True))))
    affine = np.asarray(meta["affine"])
    for channel, label in enumerate(table()):
        found = np.argwhere(array[..., channel]) @ affine[:3, :3].T + affine[:3, 3]
        assert _apart(found, _expected(phantom, label.value)) < 1e-3


def test_empty_frames_are_left_out_or_kept(tmp_path: Path) -> None:
    phantom = write_series(tmp_path / "in", GEOMETRIES["axial"], values=(1, 3))
    held = {v: int(phantom.labels[0].numpy().__eq__(v).any(axis=(0, 1)).sum()) for v in (1, 3)}
    assert pydicom.dcmread(_write(phantom, tmp_path / "a.dcm")).NumberOfFrames == sum(held.values())
    assert pydicom.dcmread(_write(phantom, tmp_path / "b.dcm", all_slices=True)).NumberOfFrames == 27


def test_dimension_indices_count_from_one(tmp_path: Path) -> None:
    phantom = write_series(tmp_path / "in", GEOMETRIES["axial"])
    data = pydicom.dcmread(_write(phantom, tmp_path / "seg.dcm"))
    indices = [
        tuple(item.FrameContentSequence[0].DimensionIndexValues)
        for item in data.PerFrameFunctionalGroupsSequence
    ]
    assert indices == sorted(set(indices))
    assert {segment for segment, _ in indices} == {1, 2, 3}
    assert {place for _, place in indices} == set(range(1, max(place for _, place in indices) + 1))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.integers(1, 9), columns=st.integers(1, 9), every=st.booleans())
def test_bits_of_frames_of_any_size(seed: int, rows: int, columns: int, every: bool) -> None:
    frames = np.random.default_rng(seed).integers(0, 4, (3, rows, columns), np.uint8)
    packed = pack_frames(frames, 3, [2, 0, 1], every)
    bits = np.unpackbits(np.frombuffer(b"".join(packed.bits), np.uint8), bitorder="little")
    expected = [frames[index].ravel() == number for number, index in packed.places]
    assert np.array_equal(bits[: rows * columns * len(expected)], np.concatenate(expected))
    shown = set(packed.places)
    for number, index in itertools.product((1, 2, 3), range(3)):
        assert ((number, index) in shown) == (
            every or bool((frames[index] == number).any())
        ) or not frames.any()


ODD = [
    {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"},
    {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.20", "Modality": "NM"},
    {"SOPClassUID": "1.2.3.4.5"},
    {"FrameOfReferenceUID": None},
    {"StudyInstanceUID": None},
    {"SeriesInstanceUID": None},
    {"SOPInstanceUID": ""},
    {"PatientName": None, "PatientID": None, "PatientBirthDate": None, "PatientSex": None, "StudyID": None,
     "StudyDate": None, "StudyTime": None, "AccessionNumber": None, "SeriesNumber": None},
    {"SpecificCharacterSet": "ISO_IR 192", "PatientName": "Müller^Jörg"},
    {"SpecificCharacterSet": ["", "ISO 2022 IR 87"], "PatientName": "Yamada^Tarou=山田^太郎"},
    {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Jörg"},
    {"SpecificCharacterSet": "ISO_IR 6"},
    {"SpecificCharacterSet": "ISO 2022 IR 6"},
    {"SpecificCharacterSet": "ISO 2022 IR 100", "PatientName": "Müller^Jörg"},
    {"SpecificCharacterSet": ["ISO_IR 192", "ISO_IR 100"]},
    {"SpecificCharacterSet": "ISO_IR 58"},
    {"PatientSex": "U"},
    {"PatientSex": "m"},
    {"PatientSex": ["M", "F"]},
    {"StudyInstanceUID": ["1.2.3", "1.2.4"]},
    {"FrameOfReferenceUID": ["1.2.3", "1.2.4"]},
]  # fmt: skip


@pytest.mark.parametrize("attributes", ODD, ids=lambda a: next(iter(a)))
@pytest.mark.filterwarnings("ignore")
def test_headers_as_they_are_found(tmp_path: Path, attributes: dict[str, object]) -> None:
    phantom = write_series(tmp_path / "in", GEOMETRIES["oblique"], **attributes)  # type: ignore[arg-type]
    path = _write(phantom, tmp_path / "seg.dcm")
    assert len(_voxels(path)["spleen"]) == len(_expected(phantom, 2))
    data = pydicom.dcmread(path)
    source = pydicom.dcmread(phantom.case.files[0])
    assert str(data.PatientName) == str(source.get("PatientName", ""))
    reference = data.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0]
    assert reference.ReferencedSOPClassUID == source.SOPClassUID
    listed = data.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert len({item.ReferencedSOPInstanceUID for item in listed}) == 9
    assert (
        data.PerFrameFunctionalGroupsSequence[0]
        .DerivationImageSequence[0]
        .SourceImageSequence[0]
        .ReferencedSOPClassUID
        == source.SOPClassUID
    )
    _check_with_dciodvfy(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("deidentify", [False, True])
@pytest.mark.parametrize("nested", [False, True])
def test_values_that_cannot_be_read_do_not_stand_in_the_way(
    tmp_path: Path, nested: bool, deidentify: bool
) -> None:
    phantom = write_series(tmp_path / "in", GEOMETRIES["axial"], SeriesNumber=7)
    for file in phantom.case.files:
        data, holder = pydicom.dcmread(file), pydicom.Dataset()
        data.RequestAttributesSequence = [holder]
        (holder if nested else data).PregnancyStatus = 0x4142
        data.save_as(file)
        content = file.read_bytes()
        for old, new in (
            (b"\x10\0\xc0\x21US\x02\0BA", b"\x10\0\xc0\x21UL\x02\0BA"),  # four bytes, of which there are two
            (b"\x20\0\x11\0IS\x02\x007 ", b"\x20\0\x11\0IS\x02\0S3"),
        ):
            assert content.count(old) == 1
            content = content.replace(old, new)
        file.write_bytes(content)
    path = _write(phantom, tmp_path / "seg.dcm", deidentify=deidentify)
    assert len(_voxels(path)["spleen"]) == len(_expected(phantom, 2))
    assert pydicom.dcmread(path).SeriesNumber == 501


@pytest.mark.parametrize("digits", [3, 4, 8])
def test_direction_cosines_of_few_decimals(tmp_path: Path, digits: int) -> None:
    """The reader takes unit vectors to 2e-3, and so does what is written of them."""
    phantom = write_series(tmp_path / "in", GEOMETRIES["oblique"], shape=(256, 40, 5))
    for file in phantom.case.files:
        data = pydicom.dcmread(file)
        data.ImageOrientationPatient = [round(float(n), digits) for n in data.ImageOrientationPatient]
        data.save_as(file)
    (case,) = find_cases(tmp_path / "in").cases
    affine = read_case(case).affine
    image, labels = (
        MetaTensor(volume.as_tensor(), affine=affine) for volume in (phantom.image, phantom.labels)
    )
    read = replace(phantom, case=case, image=image, labels=labels)
    found = _voxels(_write(read, tmp_path / "seg.dcm"))
    assert _apart(found["spleen"], _expected(read, 2)) < 1e-3


@pytest.mark.parametrize("labelmap", [False, True])
def test_slices_of_an_odd_number_of_pixels(tmp_path: Path, labelmap: bool) -> None:
    phantom = write_series(tmp_path / "in", GEOMETRIES["axial"], shape=(35, 49, 5))
    found = _voxels(_write(phantom, tmp_path / "seg.dcm", labelmap=labelmap))
    for label in table():
        assert _apart(found[label.name], _expected(phantom, label.value)) < 1e-3


@pytest.mark.parametrize("kind", ["LOCALIZER", "localizer"])
def test_a_localizer_in_a_slices_place_is_no_source(tmp_path: Path, kind: str) -> None:
    phantom = write_series(tmp_path / "in", GEOMETRIES["axial"])
    data = pydicom.dcmread(phantom.case.files[0])
    data.ImageType = ["ORIGINAL", "PRIMARY", kind]
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.save_as(tmp_path / "in" / "00000a.dcm")
    files = (tmp_path / "in" / "00000a.dcm", *phantom.case.files)
    path = _write(replace(phantom, case=replace(phantom.case, files=files)), tmp_path / "seg.dcm")
    listed = pydicom.dcmread(path).ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert data.SOPInstanceUID not in {item.ReferencedSOPInstanceUID for item in listed}


def test_only_a_localizer_is_one(tmp_path: Path) -> None:
    phantom = write_series(tmp_path / "in", GEOMETRIES["axial"])
    for file in phantom.case.files[::2]:
        data = pydicom.dcmread(file)
        data.ImageType = ["ORIGINAL", "PRIMARY", "POST LOCALIZER"]
        data.save_as(file)
    assert len(_voxels(_write(phantom, tmp_path / "seg.dcm"))["spleen"]) == len(_expected(phantom, 2))


@pytest.mark.parametrize("enhanced", [True, False])
def test_what_the_reader_takes_of_a_geometry_the_writer_takes(tmp_path: Path, enhanced: bool) -> None:
    phantom = write_series(tmp_path / "in", GEOMETRIES["axial"], enhanced=enhanced)
    for file in phantom.case.files:
        data = pydicom.dcmread(file)
        if enhanced:
            for group in data.PerFrameFunctionalGroupsSequence:
                group.PixelMeasuresSequence = [Dataset()]
                group.PixelMeasuresSequence[0].SliceThickness = 2.0
        else:
            data.SliceThickness = "nan"
        data.save_as(file)
    (case,) = find_cases(tmp_path / "in").cases
    assert read_case(case).shape == phantom.image.shape
    path = _write(phantom, tmp_path / "seg.dcm")
    assert len(_voxels(path)["spleen"]) == len(_expected(phantom, 2))


@pytest.mark.parametrize("declared", ["ISO_IR 100", None])
def test_names_of_labels_in_any_script(tmp_path: Path, declared: str | None) -> None:
    phantom = write_series(tmp_path / "in", GEOMETRIES["axial"], SpecificCharacterSet=declared)
    names = ["左海马", "右海马", "Großhirn"]
    named = tuple(replace(label, name=name) for label, name in zip(table(), names, strict=True))
    data = pydicom.dcmread(_write(phantom, tmp_path / "seg.dcm", named))
    assert [item.SegmentLabel for item in data.SegmentSequence] == names


@pytest.mark.filterwarnings("ignore")
def test_a_birth_date_that_is_none_is_left_out_and_never_quoted(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pydicom.config.settings, "writing_validation_mode", pydicom.config.IGNORE)
    phantom = write_series(tmp_path / "in", GEOMETRIES["axial"], PatientBirthDate="19640899")
    monkeypatch.undo()
    capfd.readouterr()
    path = _write(phantom, tmp_path / "seg.dcm")
    assert "19640899" not in "".join(capfd.readouterr())
    assert pydicom.dcmread(path).PatientBirthDate == ""


@pytest.mark.parametrize("enhanced", [False, True])
def test_deidentify(tmp_path: Path, enhanced: bool) -> None:
    phantom = write_series(
        tmp_path / "in", GEOMETRIES["axial"], enhanced=enhanced, PatientComments=f"is {NAME}"
    )
    path = _write(phantom, tmp_path / "seg.dcm", deidentify=True)
    content = path.read_bytes()
    for secret in (NAME, PATIENT_ID, BIRTH, "ACC99", "Arzt", "20260102", "Phantom Works"):
        assert secret.encode() not in content
    data = pydicom.dcmread(path)
    assert data.PatientIdentityRemoved == "YES"
    assert data.StudyInstanceUID == pydicom.dcmread(phantom.case.files[0]).StudyInstanceUID
    assert len(_voxels(path)["liver"]) == len(_expected(phantom, 1))


def _check_with_dciodvfy(path: Path) -> None:
    if not shutil.which("dciodvfy"):
        pytest.skip("dciodvfy is absent: install the Debian package dicom3tools")
    result = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False)
    lines = (result.stdout + result.stderr).splitlines()
    assert "Segmentation" in lines or "Comprehensive3DSR" in lines, lines
    assert [line for line in lines if line.startswith("Error")] == []


@pytest.mark.parametrize("values", [(1, 2, 3), (1, 3), ()])
@pytest.mark.parametrize("enhanced", [False, True])
@pytest.mark.parametrize("name", sorted(GEOMETRIES))
def test_dciodvfy_finds_no_error(tmp_path: Path, name: str, enhanced: bool, values: tuple[int, ...]) -> None:
    phantom = write_series(tmp_path / "in", GEOMETRIES[name], enhanced=enhanced, values=values)
    _check_with_dciodvfy(_write(phantom, tmp_path / "seg.dcm"))


@pytest.mark.parametrize("values", [(1, 2, 3), (1, 3), ()])
@pytest.mark.parametrize("name", ["oblique", "tilted"])
def test_dcmqi_reads_it_under_the_right_names(tmp_path: Path, name: str, values: tuple[int, ...]) -> None:
    program = shutil.which("segimage2itkimage")
    if not program:
        pytest.skip("segimage2itkimage is absent: pip install dcmqi")
    import json

    import nibabel

    phantom = write_series(tmp_path / "in", GEOMETRIES[name], values=values)
    path = _write(phantom, tmp_path / "seg.dcm")
    command = [program, "--inputDICOM", str(path), "--outputDirectory", str(tmp_path), "--outputType", "nii"]
    subprocess.run(command, check=True, capture_output=True)
    meta = json.loads((tmp_path / "meta.json").read_text())
    names = {s[0]["labelID"]: s[0]["SegmentLabel"] for s in meta["segmentAttributes"]}
    assert names == {label.value: label.name for label in table()}
    if name == "tilted":
        return  # an ITK image holds no shear
    for label in table():
        image = nibabel.load(tmp_path / f"{label.value}.nii.gz")
        found = np.argwhere(np.asarray(image.dataobj)) @ image.affine[:3, :3].T + image.affine[:3, 3]
        assert _apart(found, _expected(phantom, label.value)) < 1e-3
