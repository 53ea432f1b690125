"""What a folder may hold, and what becomes of it."""

import os
import re
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
from mcanet.scripts.study import (
    Case,
    Limits,
    LoadStudyd,
    RefusedError,
    check_found,
    find_cases,
    print_check,
    read_case,
    sha256_of,
)
from PIL import Image
from pydicom.dataelem import RawDataElement
from pydicom.encaps import encapsulate
from pydicom.tag import Tag
from pydicom.uid import RLELossless, generate_uid

from .phantom import Grid, assert_right, base, classic, only, refusal, sequence, write
from .test_nifti import save
from .test_picture import picture

IMAGELESS = {
    "1.2.840.10008.5.1.4.1.1.88.33": ("SR", "a structured report"),
    "1.2.840.10008.5.1.4.1.1.66.4": ("SEG", "a segmentation"),
    "1.2.840.10008.5.1.4.1.1.481.3": ("RTSTRUCT", "a radiotherapy object"),
    "1.2.840.10008.5.1.4.1.1.11.1": ("PR", "a presentation state"),
    "1.2.840.10008.5.1.4.1.1.88.59": ("KO", "a structured report"),
    "1.2.840.10008.5.1.4.1.1.66.1": ("REG", "raw data, a registration"),
    "1.2.840.10008.5.1.4.1.1.104.1": ("DOC", "an encapsulated document"),
}


def test_everything_in_one_folder(tmp_path):
    write(tmp_path / "s1" / "deep" / "er", classic(), [f"IM{i}" for i in range(6)])
    write(tmp_path / "s1" / "mr", classic(modality="MR", rescale=False))
    save(tmp_path / "brain.nii.gz")
    picture(tmp_path / "cells.png")
    for number, (uid, (modality, _)) in enumerate(IMAGELESS.items()):
        dataset = base(uid, modality, generate_uid())
        dataset.save_as(tmp_path / "s1" / "mr" / f"other{number}.dcm", enforce_file_format=True)
    (tmp_path / "DICOMDIR").write_bytes(
        b"\0" * 128 + b"DICM" + bytes.fromhex("02000200") + b"UI\x14\x00" + b"1.2.840.10008.1.3.10"
    )
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "README").write_text("hello")
    (tmp_path / "empty").mkdir()
    (tmp_path / ".DS_Store").write_bytes(b"\0\1")
    found = find_cases(tmp_path)
    assert [case.kind for case in found.cases] == ["nifti", "picture", "dicom", "dicom"]
    assert [case.input for case in found.cases] == ["brain.nii.gz", "cells.png", "s1/deep/er", "s1/mr"]
    assert found.refused == ()
    notices = "\n".join(found.notices)
    for modality, words in IMAGELESS.values():
        assert f"left out, {words}" in notices
        assert modality in notices
    for name in ("notes.txt", "README", ".DS_Store", "DICOMDIR"):
        assert f"{name}: left out" in notices
    assert len(found.notices) == len(IMAGELESS) + 4
    for case in found.cases:
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", case.case_id)
        read_case(case)


@pytest.mark.parametrize("name", ["missing", "missing.nii.gz"])
def test_missing_root(tmp_path, name):
    with pytest.raises(RefusedError, match=r"'missing.*' does not exist"):
        find_cases(tmp_path / name)


def test_an_empty_path_is_not_the_working_directory(tmp_path, monkeypatch):
    write(tmp_path, classic())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RefusedError, match="empty path"):
        find_cases("")
    with pytest.raises(RefusedError, match="empty path"):
        LoadStudyd("image")({"image": ""})


def test_nothing_to_read_says_what_was_looked_for(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(RefusedError, match=r"\.nii\.gz.*\.png.*found 1 files"):
        find_cases(tmp_path)


def test_one_file_of_a_series(tmp_path):
    write(tmp_path, classic())
    found = find_cases(tmp_path / "003.dcm")
    assert found.cases[0].input == "003.dcm"
    assert read_case(found.cases[0]).shape == (1, 12, 10, 1)


def test_damaged_neighbour_refuses_the_series(tmp_path):
    write(tmp_path / "a", classic())
    write(tmp_path / "b", classic())
    (tmp_path / "a" / "009.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\x02\x00\x00\x00UL\x04")
    found = find_cases(tmp_path)
    assert [case.input for case in found.cases] == ["b"]
    assert [case.input for case, _ in found.refused] == ["a"]
    assert "a/009.dcm" in found.refused[0][1]
    assert "may lack that slice" in found.refused[0][1]


@pytest.mark.parametrize("keep", [0, 1, 100, 131, 132, 140, 200, 330, 500, 900])
@pytest.mark.parametrize("name", ["{:03d}.dcm", "IM{:03d}", "1.2.3.{}"])
def test_truncated_header(tmp_path, keep, name):
    """An empty or shortened last slice cannot vanish."""
    write(tmp_path, classic(), [name.format(i) for i in range(6)])
    file = tmp_path / name.format(5)
    file.write_bytes(file.read_bytes()[:keep])
    found = find_cases(tmp_path)
    assert found.cases == ()
    assert len(found.refused) == 1
    assert name.format(5) in found.refused[0][1]


@pytest.mark.parametrize("name", ["x.dcm", "x.nii", "x.nii.gz", "x.png", "x.tif", "x.jpg", "x.bmp"])
@pytest.mark.parametrize("content", [b"", b"\0" * 400, b"hello there, this is text", os.urandom(2000)])
def test_files_that_are_not_what_they_claim(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    found = find_cases(tmp_path)
    assert len(found.refused) == 1
    assert found.refused[0][1].startswith(f"{name}: ")


def test_dicom_under_another_suffix(tmp_path):
    write(tmp_path, classic(), [f"{i}.png" for i in range(6)])
    assert_right(only(tmp_path))


def test_series_spread_over_folders(tmp_path):
    datasets = classic()
    write(tmp_path / "x" / "1", datasets[:3])
    write(tmp_path / "x" / "2", datasets[3:])
    write(tmp_path / "y", classic())
    found = find_cases(tmp_path)
    assert [case.input for case in found.cases] == ["x", "y"]
    assert_right(read_case(found.cases[0]))


def test_links_are_not_followed(tmp_path):
    write(tmp_path / "in" / "real", classic())
    write(tmp_path / "out", classic())
    save(tmp_path / "out" / "secret.nii.gz")
    (tmp_path / "in" / "folder").symlink_to(tmp_path / "out")
    (tmp_path / "in" / "file.nii.gz").symlink_to(tmp_path / "out" / "secret.nii.gz")
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in" / "real")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "broken").symlink_to(tmp_path / "nowhere")
    found = find_cases(tmp_path / "in")
    assert [case.input for case in found.cases] == ["real"]
    assert set(found.notices) == {
        "again: left out, a link to what is read at its own place",
        "broken: left out, a link to nothing",
        "file.nii.gz: left out, a link out of the input folder",
        "folder: left out, a link out of the input folder",
        "loop: left out, a link to what is read at its own place",
    }


def test_a_link_to_a_file_that_is_asked_for_is_read_by_its_own_name(tmp_path):
    save(tmp_path / "blob.nii.gz")
    (tmp_path / "scan.nii.gz").symlink_to((tmp_path / "blob.nii.gz").rename(tmp_path / "0a1b2c"))
    (case,) = find_cases(tmp_path / "scan.nii.gz").cases
    assert (case.case_id, case.kind) == ("scan", "nifti")
    assert read_case(case).shape[0] == 1


def test_pipes_do_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.nii")
    save(tmp_path / "a.nii.gz")
    assert find_cases(tmp_path).notices == ("pipe.nii: left out, neither a file nor a folder",)


def test_case_ids(tmp_path):
    for name in ("a.nii.gz", "x/a.nii.gz", "Ünï cödé.nii.gz", "..nii.gz", "a b.nii.gz", "a-b.nii.gz", "CON.nii.gz",
                 "report.html.nii.gz", "A.nii.gz", "q" * 90 + ".nii.gz", "plain_1.nii.gz", "-rf.nii.gz"):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        save(tmp_path / name)
    found = find_cases(tmp_path)
    ids = [case.case_id for case in found.cases]
    assert len({name.casefold() for name in ids}) == 12
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name) and name.strip(".-") == name for name in ids), ids
    assert "plain_1" in ids
    assert "a-b" in ids
    assert not {"a", "con", "report.html"} & {name.casefold() for name in ids}


def test_case_ids_stay_when_the_folder_moves(tmp_path):
    for name in ("one", "two"):
        save(tmp_path / name / "x" / "a.nii.gz")
        save(tmp_path / name / "y" / "a.nii.gz")
    ids = [[case.case_id for case in find_cases(tmp_path / name).cases] for name in ("one", "two")]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 2


def test_natural_order(tmp_path):
    for number in (10, 9, 2, 1):
        save(tmp_path / f"s{number}.nii.gz")
    assert [case.input for case in find_cases(tmp_path).cases] == [
        "s1.nii.gz",
        "s2.nii.gz",
        "s9.nii.gz",
        "s10.nii.gz",
    ]


def test_hash_follows_content_not_names(tmp_path):
    datasets = classic()
    write(tmp_path / "a", datasets)
    write(tmp_path / "b" / "c", datasets[::-1])
    datasets[2].PixelData = b"\1" + datasets[2].PixelData[1:]
    write(tmp_path / "d", datasets)
    one, other, changed = (sha256_of(find_cases(tmp_path / name).cases[0]) for name in "abd")
    assert one == other
    assert one != changed
    assert len(one) == 64


class TestSelection:
    @pytest.fixture
    def study(self, tmp_path):
        for number, (modality, text) in enumerate(
            [("MR", "Sag T1 MPRAGE"), ("MR", "ax t2"), ("CT", "thorax, T1 spine")]
        ):
            datasets = classic(modality=modality)
            for dataset in datasets:
                dataset.SeriesDescription = text
                dataset.SeriesNumber = number
                dataset.Rows = 10
            write(tmp_path / str(number), datasets)
        save(tmp_path / "n.nii.gz")
        return tmp_path

    @pytest.mark.parametrize(
        ("text", "wanted"),
        [
            ("Modality=MR,SeriesDescription~t1", "0"),
            ("Modality=mr", "01"),
            ("Modality!=MR", "2"),
            ("SeriesDescription~^(sag|ax)", "01"),
            ("SeriesDescription!~t2", "02"),
            (" Modality = MR , SeriesDescription !~ T2 ", "0"),
            (r"SeriesDescription=thorax\, t1 spine", "2"),
            ("SeriesNumber=1", "1"),
            ("Rows=10,SeriesNumber~[02]", "02"),
            ("PatientComments=", "012"),
        ],
    )
    def test_terms(self, study, text, wanted):
        found = find_cases(study, series=text)
        assert [case.input for case in found.cases] == list(wanted)
        assert "n.nii.gz: left out, the series selection wants DICOM" in found.notices

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("Modalty=MR", "'Modalty' is no DICOM attribute"),
            ("SeriesDescription~(t1", "no regular expression"),
            ("Modality", "expected KEYWORD=value"),
            ("Modality=MR,,", "expected KEYWORD=value"),
        ],
    )
    def test_mistakes(self, study, text, words):
        with pytest.raises(ValueError, match=re.escape(words)):
            find_cases(study, series=text)

    def test_nothing_selected(self, study):
        with pytest.raises(RefusedError, match="leaves out all 3 DICOM series"):
            find_cases(study, series="Modality=PT")


class TestPrivacy:
    def test_patient_in_paths_and_headers(self, tmp_path, caplog, recwarn):
        """Folders and files are named after the patient, headers are broken: no message may tell."""
        folder = tmp_path / "Quill_Peregrine" / "PQ-77120 1952-06-30"
        datasets = classic()
        write(folder, datasets[:2] + datasets[3:], [f"peregrine-quill-{i}.dcm" for i in range(5)])
        other = classic()
        for dataset in other:
            dataset.PixelSpacing = ["0", "0"]
        write(folder / "pq77120", other)
        save(folder / "QUILL.nii.gz")
        (folder / "Peregrine.txt").write_text("x")
        damaged = folder / "z" / "19520630.dcm"
        write(damaged.parent, classic()[:1], ["ok.dcm"])
        damaged.write_bytes((damaged.parent / "ok.dcm").read_bytes()[:600])
        found = find_cases(tmp_path)
        rows = check_found(find_cases(tmp_path), deep=True)
        texts = [
            *found.notices,
            *(reason for _, reason in found.refused),
            repr(found),
            str(rows),
            caplog.text,
        ]
        texts += [str(case.input) + case.case_id for case in found.cases]
        texts += [str(warning.message) for warning in recwarn]
        for text in texts:
            shown = text.replace(str(tmp_path), "")
            shown = re.sub(r"PosixPath\('[^']*'\)", "", shown).lower()
            for word in ("quill", "peregrine", "77120", "1952-06-30", "19520630"):
                assert word not in shown, (word, shown)
        assert len(found.refused) == 3

    def test_meta_holds_nothing_of_the_patient(self, tmp_path):
        image = only(write(tmp_path / "Quill", classic()))
        assert "quill" not in repr(dict(image.meta)).lower()
        assert "PQ" not in repr(dict(image.meta))

    def test_broken_identity_is_not_quoted(self, tmp_path, caplog, recwarn):
        write(tmp_path, classic())
        for file in tmp_path.iterdir():
            data = (
                file.read_bytes()
                .replace(b"Quill^Peregrine", b"Qu\xff=l^P^^^^^^gr")
                .replace(b"19520630", b"1952063x")
            )
            file.write_bytes(data)
        assert_right(only(tmp_path))
        assert "1952063x" not in caplog.text + "".join(str(w.message) for w in recwarn)

    def test_warnings_that_quote_a_header_are_masked(self, tmp_path):
        datasets = classic()
        for i, dataset in enumerate(datasets):
            dataset.ContrastBolusAgent = "given to Quill, Peregrine" if i else "none"
        write(tmp_path, datasets)
        (info,) = find_cases(tmp_path).info.values()
        for warnings in (info.warnings, only(tmp_path).meta["warnings"]):
            (told,) = [text for text in warnings if text.startswith("ContrastBolusAgent is")]
            assert "***" in told
            assert "Quill" not in told

    def test_reasons_are_masked_by_their_own_patient_alone(self, tmp_path):
        for number, name in (("1", "Gap^Ann"), ("77777", "Test^Patient")):
            datasets = classic()
            for dataset in datasets:
                dataset.PatientID, dataset.PatientName = number, name
            write(tmp_path / name[:3], datasets)
        lost = classic()
        for dataset in lost:
            dataset.PatientID, dataset.PatientName = "88888", "Roe^Ada"
        write(tmp_path / "lost", lost[:2] + lost[3:])
        ((_, reason),) = find_cases(tmp_path).refused
        assert "slice missing" in reason
        assert "***" not in reason

    def test_short_identifiers_do_not_blot_out_paths(self, tmp_path):
        datasets = classic()
        for dataset in datasets:
            dataset.PatientName, dataset.PatientID = "A^B", "1"
        found = find_cases(write(tmp_path / "series1" / "1", datasets))
        assert found.cases[0].input == "."
        found = find_cases(tmp_path)
        assert found.cases[0].input == "series1/***"


def test_check_table(tmp_path):
    write(tmp_path / "good", classic(Grid(shear=(0, 0.5, 0))))
    datasets = classic()
    del datasets[3]
    write(tmp_path / "gap", datasets)
    rows = {row.input: row for row in check_found(find_cases(tmp_path))}
    assert rows["good"].status == "fit"
    assert rows["good"].shape == (12, 10, 6)
    np.testing.assert_allclose(rows["good"].spacing, (1.25, 1.5, np.hypot(2, 0.5)))
    assert "sheared" in rows["good"].warnings[0]
    assert rows["gap"].status == "refused"
    assert "missing" in rows["gap"].reason


def test_check_deep_reads_the_voxels(tmp_path):
    save(tmp_path / "a.nii.gz", np.full((3, 4, 5), np.nan, "f4"))
    assert check_found(find_cases(tmp_path))[0].status == "fit"
    row = check_found(find_cases(tmp_path), deep=True)[0]
    assert row.status == "refused"
    assert "NaN" in row.reason


class TestLimits:
    def test_files(self, tmp_path):
        for number in range(5):
            (tmp_path / f"{number}.txt").write_text("x")
        with pytest.raises(RefusedError, match="more than max_files = 3"):
            find_cases(tmp_path, limits=Limits(max_files=3))

    def test_voxels(self, tmp_path):
        assert "12 x 10 x 6 = 720 voxels, more than max_voxels = 719" in refusal(
            write(tmp_path, classic()), limits=Limits(max_voxels=719)
        )

    def test_file_size(self, tmp_path):
        write(tmp_path, classic())
        found = find_cases(tmp_path, limits=Limits(max_file_bytes=500))
        assert found.cases == ()
        assert all("more than max_file_bytes = 500" in reason for _, reason in found.refused)

    def test_header_size(self, tmp_path):
        datasets = classic()
        datasets[2].ImageComments = "x" * 9000
        datasets[2].add_new(0x00080008, "CS", ["ORIGINAL", "PRIMARY", "A" * 60000])
        write(tmp_path, datasets)
        assert "002.dcm" in refusal(tmp_path, limits=Limits(max_header_bytes=30000))

    def test_gigantic_claims(self, tmp_path):
        """65535 x 65535 x 100000 frames in a small file end before memory is taken."""
        datasets = classic(Grid(slices=1))
        datasets[0].Rows = datasets[0].Columns = 65535
        datasets[0].NumberOfFrames = 100000
        assert "NumberOfFrames" in refusal(write(tmp_path, datasets))
        datasets[0].NumberOfFrames = 1
        assert "truncated: 240 bytes, expected 8589672450" in refusal(write(tmp_path, datasets))
        datasets[0].file_meta.TransferSyntaxUID = RLELossless
        datasets[0].PixelData = encapsulate([b"\0" * 64])
        assert "voxels, more than max_voxels" in refusal(write(tmp_path, datasets))

    @pytest.mark.parametrize("depth", [50, 5000, 200000])
    def test_deep_nesting(self, tmp_path, depth):
        write(tmp_path, classic())
        data = (tmp_path / "002.dcm").read_bytes()
        at = data.index(b"\x08\x00\x08\x00CS")
        nested = (b"\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff") * depth
        (tmp_path / "002.dcm").write_bytes(data[:at] + nested + data[at:])
        assert "002.dcm" in refusal(tmp_path)

    @pytest.mark.parametrize("length", ["defined", "undefined"])
    def test_a_sequence_of_very_many_items(self, tmp_path, length):
        """Twenty thousand empty items must not become as many objects."""
        write(tmp_path, classic())
        data = (tmp_path / "002.dcm").read_bytes()
        at = data.index(b"\xe0\x7f\x10\x00OW")
        items = b"\xfe\xff\x00\xe0\0\0\0\0" * 20_000
        size = len(items).to_bytes(4, "little") if length == "defined" else b"\xff\xff\xff\xff"
        end = b"" if length == "defined" else b"\xfe\xff\xdd\xe0\0\0\0\0"
        groups = b"\x00\x52\x30\x92SQ\0\0" + size + items + end
        (tmp_path / "002.dcm").write_bytes(data[:at] + groups + data[at:])
        reason = refusal(tmp_path, limits=Limits(max_header_reads=2000))
        assert reason.startswith("002.dcm: ")
        assert "has 20000 items" not in reason


class TestPrintedTable:
    def test_refusals_end_non_zero(self, tmp_path, capsys):
        write(tmp_path / "good", classic())
        (tmp_path / "notes.txt").write_text("x")
        datasets = classic()
        write(tmp_path / "gap", datasets[:2] + datasets[3:])
        with pytest.raises(SystemExit, match=r"1 of 2 cases are refused"):
            print_check(tmp_path)
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].split() == ["status", "case_id", "kind", "shape", "spacing", "input"]
        assert lines[1].startswith("fit ")
        assert "12 x 10 x 6" in lines[1]
        assert "refused" in lines[2]
        assert "notes.txt: left out" in lines[-1]

    def test_all_fit(self, tmp_path, capsys):
        write(tmp_path, classic())
        print_check(str(tmp_path), limits={"max_voxels": 1000})
        assert "fit" in capsys.readouterr().out

    @pytest.mark.parametrize("options", [{"series": "Modalty=MR"}, {"limits": {"max_voxel": 3}}, {}])
    def test_mistakes_are_one_sentence(self, tmp_path, options):
        with pytest.raises(SystemExit, match="cannot check the input: "):
            print_check(tmp_path, **options)


def test_check_compares_headers_with_the_task(tmp_path):
    """What the headers tell is compared without reading a voxel."""
    write(tmp_path / "ct", classic())
    write(tmp_path / "mr", classic(modality="MR", rescale=False))
    picture(tmp_path / "a.png")
    rules = {"modality": ["MR"], "spatial_dims": 3, "spacing_mm": [1, 1.6]}
    rows = {row.input: row for row in check_found(find_cases(tmp_path), rules=rules)}
    assert rows["mr"].status == "fit"
    assert "spacing is 1.25 x 1.5 x 2 mm, outside" in rows["mr"].warnings[0]
    assert "Modality is 'CT'" in rows["ct"].reason
    assert "2 spatial dimensions" in rows["a.png"].reason


def test_check_goes_by_where_the_slices_lie(tmp_path):
    """As segmentation does, whatever the order of the axes in the file."""
    for name, axes in (("axial", [2, 0, 1]), ("sagittal", [1, 2, 0])):
        affine = np.diag([0, 0, 0, 1.0])
        affine[axes, range(3)] = [8, 2, 2] if name == "axial" else [2, 2, 8]
        save(tmp_path / f"{name}.nii.gz", affine=affine)
    rows = check_found(find_cases(tmp_path), rules={"slice_axis": 2})
    deep = check_found(find_cases(tmp_path), rules={"slice_axis": 2}, deep=True)
    assert [(row.case_id, row.status, row.reason) for row in rows] == [
        (row.case_id, row.status, row.reason) for row in deep
    ]
    assert {row.status for row in rows} == {"fit", "refused"}


def test_masks_by_their_bids_names_are_no_images(tmp_path):
    names = ["sub-01_T1w", "sub-01_desc-brain_mask", "sub-01_dseg", "sub-01_label-GM_probseg", "left_mask"]
    for name in names:
        save(tmp_path / "sub-01" / f"{name}.nii.gz")
    found = find_cases(tmp_path)
    assert sorted(case.case_id for case in found.cases) == ["left_mask", "sub-01_T1w"]
    assert len(found.notices) == 3
    assert all("a mask and no image by its BIDS name" in notice for notice in found.notices)
    assert len(find_cases(tmp_path / "sub-01" / "sub-01_dseg.nii.gz").cases) == 1  # asked for by its name


def test_an_output_folder_is_no_input(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    picture(folder / "a.png")
    (folder / ".mcanet.lock").touch()
    assert len(find_cases(tmp_path).cases) == 1  # of a run that was refused before it wrote
    for name in ("manifest.csv", "history.csv", ".partial-a-1"):
        (folder / name).touch()
        with pytest.raises(RefusedError, match=rf"is the output folder of a run .*{re.escape(name)}\)"):
            find_cases(folder)
        with pytest.raises(RefusedError, match="folder: left out, the results of an earlier run"):
            find_cases(tmp_path)
        (folder / name).unlink()


@pytest.mark.parametrize("name", ["IM0009", "IM0009.part", "IM0009.zip", "IM0009.dat"])
@pytest.mark.parametrize("content", [b"<html>Error 503</html>", b"\0" * 2000, b""])
def test_a_slice_that_came_as_something_else_refuses_the_series(tmp_path, name, content):
    """A slice at the end leaves no gap that geometry could show."""
    slices = classic()
    folder = write(tmp_path, slices, [f"IM{i:04}" for i in range(10, 10 + len(slices))])
    (folder / "IM0010.json").write_text("{}")  # goes with a slice
    (folder / "README").write_text("of the scanner")
    assert only(tmp_path).shape[0] == 1
    (folder / name).write_bytes(content)
    assert name in refusal(tmp_path)


@pytest.mark.parametrize("opened", ["IM0002", "locked"])
def test_what_may_not_be_opened_is_accounted_for(tmp_path, opened):
    slices = classic()
    folder = write(tmp_path / "in", slices, [f"IM{i:04}" for i in range(len(slices))])
    (tmp_path / "in" / "locked").mkdir()
    place = tmp_path / "in" / "locked" if opened == "locked" else folder / opened
    place.chmod(0)
    caps = "-dac_override,-dac_read_search"
    plain = ["setpriv", f"--bounding-set={caps}", f"--inh-caps={caps}"] if os.geteuid() == 0 else []
    code = (
        "import sys; from mcanet.scripts.study import find_cases; found = find_cases(sys.argv[1])\n"
        "print(len(found.cases), [reason for _, reason in found.refused])"
    )
    told = subprocess.run(
        [*plain, sys.executable, "-c", code, tmp_path / "in"], capture_output=True, text=True, check=True
    ).stdout
    place.chmod(0o700)
    assert told.startswith("1 " if opened == "locked" else "0 ")
    assert opened in told
    assert "Permission denied" in told


def test_channels_in_another_order_are_another_input(tmp_path):
    files = tuple(
        picture(tmp_path / f"{name}.png", np.full((40, 40), grey, np.uint8))
        for name, grey in (("a", 1), ("b", 2))
    )
    one, other = (Case("c", "picture", "c", order, tmp_path) for order in (files, files[::-1]))
    assert sha256_of(one) != sha256_of(other)


@pytest.mark.parametrize(
    ("name", "charset", "path"),
    [
        ("Yamada^Tarou=\u5c71\u7530^\u592a\u90ce", ["", "ISO 2022 IR 87"], "\u5c71\u7530\u592a\u90ce"),
        ("Kim^Hyeesoo=\uae40^\ud76c\uc218", "ISO_IR 192", "\uae40\ud76c\uc218"),
        ("Wang^XiaoDong=\u738b^\u5c0f\u4e1c", "GB18030", "\u738b\u5c0f\u4e1c"),
        ("Schr\u00f6der^Eva", "ISO_IR 100", "Schro\u0308der_x"),
        ("G\u00e4rtner^Uwe", "ISO_IR 192", "G\u00e4rtner"),
    ],
)
@pytest.mark.parametrize("wrongly", [False, True])
def test_names_of_every_script_are_kept_out_of_what_is_shown(tmp_path, name, charset, path, wrongly):
    slices = classic()
    for dataset in slices:
        dataset.SpecificCharacterSet = charset
        dataset.PatientName = name
        if wrongly:  # UTF-8, and said to be Latin-1
            dataset.SpecificCharacterSet = "ISO_IR 100"
            dataset._dict[0x00100010] = RawDataElement(
                Tag(0x00100010), "PN", len(name.encode()), name.encode(), 0, False, True
            )
    write(tmp_path / "in" / path, slices)
    found = find_cases(tmp_path / "in")
    assert len(found.cases) == 1
    shown = found.cases[0].input + str(found.notices)
    assert "***" in shown
    assert not {*unicodedata.normalize("NFC", path)} - {*"_x"} & {*shown.replace("***", "")} - {*"image"}


def test_check_splits_pages_as_segment_does(tmp_path, capsys):
    pages = [Image.fromarray(np.full((40, 40), i, np.uint8)) for i in range(2)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(SystemExit, match="1 of 1 cases are refused"):
        print_check(tmp_path)
    print_check(tmp_path, split_pages=True)
    assert capsys.readouterr().out.count("fit  ") == 2


def refusals(root, **options):
    return {case.input: reason for case, reason in find_cases(root, **options).refused}


PRIVATE = "1.3.46.670589.11.0.0.12.1"  # of a vendor's, whose images are read like others


def test_a_damaged_slice_of_a_private_class_is_no_object_without_an_image(tmp_path):
    slices = classic()
    for dataset in slices:
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = PRIVATE
    folder = write(tmp_path, slices, [f"{i}.dcm" for i in range(len(slices))])
    assert len(find_cases(tmp_path).cases) == 1
    last = folder / f"{len(slices) - 1}.dcm"
    last.write_bytes(last.read_bytes()[:-20])
    assert "truncated" in refusal(tmp_path)


@pytest.mark.parametrize("content", [b"\0" * 2000, b""])
def test_a_damaged_slice_without_a_suffix_beside_slices_with_one(tmp_path, content):
    slices = classic()
    folder = write(tmp_path, slices, [f"IM{i:04}.dcm" for i in range(len(slices))])
    (folder / f"IM{len(slices):04}").write_bytes(content)
    (folder / "LICENSE").write_text("of the data")
    assert f"IM{len(slices):04}: named as the slices are" in refusal(tmp_path)


def test_a_slice_that_is_a_link_is_missed(tmp_path):
    slices = classic()
    folder = write(tmp_path / "in", slices, [f"IM{i:04}.dcm" for i in range(len(slices))])
    last = folder / f"IM{len(slices) - 1:04}.dcm"
    last.rename(tmp_path / "elsewhere.dcm")
    last.symlink_to(tmp_path / "elsewhere.dcm")
    assert f"{last.name}: named as the slices are" in refusal(tmp_path / "in")


def test_a_study_of_nothing_but_damaged_slices_is_told(tmp_path):
    write(tmp_path / "good", classic())
    (tmp_path / "bad").mkdir()
    for i in range(8):
        (tmp_path / "bad" / f"IM{i:04}").write_bytes(b"\0" * 2000)
    (tmp_path / "bad" / "README").write_text("of the scanner")
    assert refusals(tmp_path) == {
        "bad/IM0000": "bad/IM0000: no DICOM, nor are the 7 others that are named like it; if they are slices, fetch "
        "them again, else move them away"
    }


def test_what_is_damaged_stays_a_case_where_a_selection_cannot_tell(tmp_path):
    write(tmp_path / "good", classic())
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "0.dcm").write_bytes(b"\0" * 2000)
    (reason,) = refusals(tmp_path, series="Modality=CT").values()
    assert reason.endswith("whether the selection wants it is unknown")


def test_each_damaged_folder_of_a_series_is_told(tmp_path):
    slices = classic()
    write(tmp_path / "a", slices[:3], [f"{i}.dcm" for i in range(3)])
    write(tmp_path / "b", slices[3:], [f"{i}.dcm" for i in range(3, len(slices))])
    for name in ("a/zz.dcm", "b/yy.dcm"):
        (tmp_path / name).write_bytes(b"broken")
    told = " ".join(refusals(tmp_path).values())
    assert "a/zz.dcm" in told
    assert "b/yy.dcm" in told


def test_a_name_that_another_ones_hash_gives_is_told_apart(tmp_path):
    for place in ("x/a", "y/a"):
        (tmp_path / place).parent.mkdir()
        save(tmp_path / f"{place}.nii.gz")
    (taken, _) = (case.case_id for case in find_cases(tmp_path).cases)
    save(tmp_path / f"{taken}.nii.gz")
    assert len({case.case_id for case in find_cases(tmp_path).cases}) == 3


@pytest.mark.parametrize("name", ["dseg.tsv", "dataset_description.json"])
def test_names_of_the_runs_own_files_are_changed(tmp_path, name):
    save(tmp_path / f"{name}.nii.gz")
    (case,) = find_cases(tmp_path).cases
    assert case.case_id.startswith(f"{name}-")


def test_a_case_of_an_earlier_run_is_no_input(tmp_path):
    (tmp_path / "a").mkdir()
    save(tmp_path / "a" / "segmentation.nii.gz")
    assert find_cases(tmp_path / "a").cases
    for name in (".mcanet.lock", "manifest.csv", "a/measurements.json"):
        (tmp_path / name).touch()
    with pytest.raises(RefusedError, match="or a case in one"):
        find_cases(tmp_path / "a")


def test_names_are_masked_where_headers_are_cut_in_other_ids_and_in_quoted_values(tmp_path):
    cut = classic()
    for dataset in cut:
        dataset.PatientName, dataset.PatientID = "Zebra^Quagga", "PID77777"
    folder = write(tmp_path / "Zebra_Quagga", cut, [f"{i}.dcm" for i in range(len(cut))])
    for i, file in enumerate(sorted(folder.iterdir())):
        content = file.read_bytes()
        file.write_bytes(content[: content.index(b"PID77777") + 8 + i])  # at an element's end, and within one
    other = classic()
    for dataset in other:
        dataset.OtherPatientIDsSequence = sequence(PatientID="MRN998877")
    write(tmp_path / "MRN998877", other)
    mixed = classic()
    for i, dataset in enumerate(mixed):
        dataset.PatientName, dataset.SequenceName = "Okapi^Gnu", "Okapi" if i % 2 else "fast"
        dataset.ImagePositionPatient = mixed[0].ImagePositionPatient
    write(tmp_path / "mixed", mixed)
    found = find_cases(tmp_path)
    told = " ".join([*(reason for _, reason in found.refused), *found.notices])
    told += " ".join(case.input for case in (*found.cases, *(case for case, _ in found.refused)))
    assert "SequenceName" in told
    assert not re.search("zebra|quagga|77777|998877|okapi", told, re.IGNORECASE)


def test_a_slice_that_lost_its_series_is_no_series_of_its_own(tmp_path):
    slices = classic()
    del slices[-1].SeriesInstanceUID
    write(tmp_path, slices)
    assert "005.dcm: SeriesInstanceUID is missing, unlike beside it" in refusal(tmp_path)
