"""The phantom inputs of ``reading.py``, one a trap."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from reading import Case
from study.phantom import Grid, base, classic, ds, enhanced, linear, rotation, sequence, store, write
from study.test_dicom_values import encode

GRID = Grid(columns=36, rows=34, slices=8, row_spacing=1.0, column_spacing=0.8)
RAW = (b"\x20\x00\x32\x00", b"\x28\x00\x53\x10")
"""Tags of ImagePositionPatient and RescaleSlope, to which ``raw`` gives another value representation."""
Change = Callable[[list[FileDataset]], Sequence[FileDataset] | None]


def phantom(quantum: float = 1.0, slices: int | None = 8) -> Callable[[np.ndarray, np.ndarray], bool]:
    """Judges whether every voxel is there and has the value of its place."""

    def right(array: np.ndarray, affine: np.ndarray) -> bool:
        if array.ndim != 3 or (slices is not None and array.shape[2] != slices):
            return False
        index = np.stack(np.meshgrid(*map(np.arange, array.shape), indexing="ij"), axis=-1)
        points = (index @ affine[:3, :3].T + affine[:3, 3]) * [-1, -1, 1]
        return bool(np.abs(array - linear(points)).max() <= quantum / 2 + 0.05)

    return right


def series(name: str, change: Change = lambda datasets: None, right=None, names=None, **options) -> Case:
    """A classic series of which ``change`` makes a trap."""

    def build(folder: Path) -> None:
        datasets = classic(options.pop("grid", GRID), **options)
        changed = change(datasets)
        write(folder, datasets if changed is None else changed, names)
        for file in folder.iterdir():
            data = file.read_bytes()
            for tag in RAW:
                data = data.replace(tag + b"LO", tag + b"DS")
            file.write_bytes(data)

    return Case(name, build, right)


def each(action: Callable[[FileDataset], None], which: slice = slice(None)) -> Change:
    """Applies an action to some of the files."""

    def change(datasets: list[FileDataset]) -> None:
        for dataset in datasets[which]:
            action(dataset)

    return change


def put(which: slice = slice(None), **attributes) -> Change:
    """Sets attributes, or removes those that are None."""

    def action(dataset: FileDataset) -> None:
        for keyword, value in attributes.items():
            if value is None:
                del dataset[keyword]
            else:
                setattr(dataset, keyword, value)

    return each(action, which)


def raw(keyword: str, value: str, which: slice = slice(None)) -> Change:
    """Puts a decimal string past pydicom's checks."""

    def action(dataset: FileDataset) -> None:
        dataset.add_new(keyword, "LO", value)

    return each(action, which)


def compressed(name: str, syntax: str) -> Case:
    """A series in a compressed transfer syntax."""
    return series(
        name, each(lambda dataset: dataset.compress(syntax, generate_instance_uid=False)), phantom()
    )


def multiframe(name: str, right=None, **options) -> Case:
    """An enhanced MR file."""
    return Case(name, lambda folder: write(folder, enhanced(GRID, **options)) and None, right)


def cases() -> list[Case]:
    """All rows of the table."""
    return [*_geometry(), *_series(), *_values(), *_encodings(), *_enhanced(), *_files()]


def _geometry() -> list[Case]:
    turned = [("oblique", rotation(20, -35, 50)), ("sagittal", np.array([[0, 1, 0], [0, 0, -1], [-1, 0, 0]])),
              ("coronal", np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]]))]  # fmt: skip
    tilted = Grid(**{**vars(GRID), "shear": (0, 0.5, 0)})

    def moved(step: float, sideways: float = 0.0) -> Change:
        return lambda datasets: setattr(
            datasets[3], "ImagePositionPatient", ds(GRID.position(step) + np.array([sideways, 0, 0]))
        )

    def renumbered(datasets: list[FileDataset]) -> None:
        for dataset, number in zip(datasets, (4, 1, 8, 6, 2, 5, 3, 7), strict=True):
            dataset.InstanceNumber = number

    mixed = ds(rotation(0, 0, 3)[:2].ravel())
    return [
        series("normal", right=phantom()),
        *(series(name, right=phantom(), grid=Grid(**{**vars(GRID), "axes": axes})) for name, axes in turned),
        series("shuffled file names", lambda d: [d[i] for i in (3, 0, 7, 5, 1, 4, 6, 2)], phantom()),
        series("InstanceNumber not in spatial order", renumbered, phantom()),
        series("missing slice", lambda d: d[:3] + d[4:]),
        series("every second slice missing after the middle", lambda d: d[:4] + d[5::2]),
        series("uneven spacing", moved(3.2)),
        series("one slice moved sideways", moved(3, 1.5)),
        series("gantry tilt", right=phantom(), grid=tilted),
        series("no position", put(ImagePositionPatient=None)),
        series("no orientation", put(ImageOrientationPatient=None)),
        series("no pixel spacing", put(PixelSpacing=None)),
        series("pixel spacing of 0", put(PixelSpacing=["0", "0"])),
        series("negative pixel spacing", put(PixelSpacing=["-1", "0.8"])),
        series("position NaN in one slice", raw("ImagePositionPatient", "nan\\0\\0", slice(3, 4))),
        series(
            "orientation not perpendicular",
            put(ImageOrientationPatient=["1", "0", "0", "0.5", "0.866025", "0"]),
        ),
        series("one slice of another orientation", put(slice(3, 4), ImageOrientationPatient=mixed)),
        series("one slice of another pixel spacing", put(slice(3, 4), PixelSpacing=["1.2", "0.96"])),
        series("one slice, no thickness", put(SliceThickness=None), grid=Grid(**{**vars(GRID), "slices": 1})),
    ]


def _copy(datasets: list[FileDataset]) -> list[FileDataset]:
    return [*datasets, datasets[3]]


def _repeated(datasets: list[FileDataset]) -> list[FileDataset]:
    extra = classic(GRID)[3]
    extra.SeriesInstanceUID = datasets[0].SeriesInstanceUID
    return [*datasets, extra]


def _timed(datasets: list[FileDataset]) -> list[FileDataset]:
    second = classic(GRID)
    for dataset in second:
        dataset.SeriesInstanceUID = datasets[0].SeriesInstanceUID
        dataset.TemporalPositionIdentifier = 2
    return [*datasets, *second]


def _scout(own: bool) -> Change:
    def change(datasets: list[FileDataset]) -> list[FileDataset]:
        image = classic(Grid(**{**vars(GRID), "slices": 1, "axes": rotation(90, 0, 0)}))[0]
        image.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        if not own:
            image.SeriesInstanceUID = datasets[0].SeriesInstanceUID
        return [image, *datasets]

    return change


def _smaller(datasets: list[FileDataset]) -> None:
    for dataset in datasets[5:]:
        store(dataset, GRID.plane(5)[:20], 1, -1024)


def _other(datasets: list[FileDataset]) -> list[FileDataset]:
    return [*datasets, *classic(Grid(**{**vars(GRID), "slices": 5, "origin": (50, 60, 70)}))]


def _series() -> list[Case]:
    late = slice(4, None)
    return [
        series("exact copy of a file", _copy, phantom()),
        series("duplicate position", _repeated),
        series("4D: two time points under one UID", _timed),
        series("two series in one folder", _other, phantom()),
        series("localizer series in the folder", _scout(own=True), phantom()),
        series("localizer in the series", _scout(own=False), phantom()),
        series("two matrix sizes under one UID", _smaller),
        series("two patients under one UID", put(late, PatientID="other", PatientName="o")),
        series("two frames of reference under one UID", put(late, FrameOfReferenceUID="1.2.3")),
        series("two echo times, interleaved", _echoes, modality="MR"),
    ]


def _echoes(datasets: list[FileDataset]) -> None:
    for index, dataset in enumerate(datasets):
        dataset.EchoTime = str(10 + index % 2 * 20)


def _values() -> list[Case]:
    def bits(datasets: list[FileDataset]) -> None:
        for dataset in datasets:
            stored = np.frombuffer(dataset.PixelData, "<u2").copy()
            stored[::5] |= 0xA000
            dataset.PixelData = stored.tobytes()

    def scaled(datasets: list[FileDataset]) -> None:
        for index, dataset in enumerate(datasets):
            slope = 0.2 + 0.05 * index
            dataset.RescaleSlope, dataset.RescaleIntercept = ds(slope)[0], "-50"
            store(dataset, GRID.plane(index), slope, -50.0)

    def twelve(datasets: list[FileDataset]) -> None:
        store(datasets[3], GRID.plane(3), 1, -1024, bits=12, signed=False)

    one = slice(3, 4)
    return [
        series("slopes that differ by slice", scaled, phantom(0.6)),
        series("one slice without rescale", put(one, RescaleSlope=None, RescaleIntercept=None)),
        series("RescaleSlope without RescaleIntercept", put(RescaleIntercept=None)),
        series("slope 0", raw("RescaleSlope", "0")),
        series("slope NaN", raw("RescaleSlope", "nan")),
        series("slope infinite in one slice", raw("RescaleSlope", "inf", one)),
        series("12 bits stored, garbage above", bits, phantom(), bits=12, signed=False),
        series("12 bits unsigned among 16 bits signed", twelve, phantom()),
        series("MONOCHROME1, values kept", put(PhotometricInterpretation="MONOCHROME1"), phantom()),
        series(
            "a table of values (ModalityLUTSequence)",
            put(ModalityLUTSequence=sequence(LUTExplanation="x")),
            rescale=False,
        ),
        Case("palette colour", _palette, _palette_right),
    ]


def _palette(folder: Path) -> None:
    dataset = base("1.2.840.10008.5.1.4.1.1.6.1", "US", "1.2.3")
    store(dataset, np.tile(np.arange(36.0), (34, 1)), 1, 0, bits=8, signed=False)
    dataset.PhotometricInterpretation = "PALETTE COLOR"
    for number, colour in enumerate(("Red", "Green", "Blue")):
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 8])
        table = (np.arange(256) * (number + 1) % 256).astype("u1").tobytes()
        setattr(dataset, f"{colour}PaletteColorLookupTableData", table)
    write(folder, dataset)


def _palette_right(array: np.ndarray, affine: np.ndarray) -> bool:
    expected = np.arange(36)[:, None] * np.array([1, 2, 3])
    array = np.asarray(array, dtype=float).squeeze()
    for axes in ((1, 2, 0), (0, 1, 2)):
        if array.ndim == 3 and array.transpose(axes).shape == (36, 34, 3):
            return bool(np.array_equal(array.transpose(axes)[:, 5], expected))
    return False


def _encodings() -> list[Case]:
    def big(folder: Path) -> None:
        for number, dataset in enumerate(classic(GRID)):
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
            encode(dataset, folder / f"{number}.dcm", ExplicitVRBigEndian)

    def deflate(dataset: FileDataset) -> None:
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian

    def cut(datasets: list[FileDataset]) -> None:
        for index, dataset in enumerate(datasets):
            dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
            if index == 3:
                (frame,) = generate_frames(dataset.PixelData, number_of_frames=1)
                dataset.PixelData = encapsulate([frame[: len(frame) // 4 * 2]])

    return [
        compressed("JPEG-LS", JPEGLSLossless),
        compressed("JPEG 2000", JPEG2000Lossless),
        compressed("RLE", RLELossless),
        series("deflated", each(deflate), phantom()),
        Case("big endian", big, phantom()),
        series("JPEG 2000 cut short in one slice", cut),
    ]


def _enhanced() -> list[Case]:
    def later(frame, group):
        group.FrameContentSequence[0].TemporalPositionIndex = 1 + frame // 4

    def unplaced(frame, group):
        if frame == 4:
            del group.PlanePositionSequence

    slopes = [0.25, 0.5, 0.3, 0.4, 0.25, 0.35, 0.45, 0.5]
    return [
        multiframe("enhanced MR", phantom(0.5)),
        multiframe("enhanced MR, shuffled frames", phantom(0.5), order=[3, 0, 7, 5, 1, 4, 6, 2]),
        multiframe("enhanced MR, slopes by frame", phantom(0.5), slopes=slopes),
        multiframe("enhanced MR, a frame missing", order=[0, 1, 2, 4, 5, 6, 7]),
        multiframe("enhanced MR, two time points", order=[0, 1, 2, 3] * 2, change=later),
        multiframe("enhanced MR, a frame without position", change=unplaced),
    ]


def _files() -> list[Case]:
    def damaged(keep: Callable[[bytes], bytes], name: str = "003.dcm") -> Callable[[Path], None]:
        def build(folder: Path) -> None:
            write(folder, classic(GRID))
            (folder / name).write_bytes(keep((folder / name).read_bytes()))

        return build

    def with_report(folder: Path) -> None:
        write(folder, classic(GRID))
        report = base("1.2.840.10008.5.1.4.1.1.88.33", "SR", "1.2.9")
        write(folder, report, ["report.dcm"])

    def bare(folder: Path) -> None:
        for dataset in classic(GRID):
            plain = dataset.copy()
            del plain.file_meta
            plain.preamble = None
            plain.save_as(
                folder / f"{dataset.InstanceNumber}",
                implicit_vr=True,
                little_endian=True,
                force_encoding=True,
            )

    def below(folder: Path) -> None:
        write(folder / "a" / "b", classic(GRID))
        (folder / "empty").mkdir()

    def text(folder: Path) -> None:
        write(folder, classic(GRID))
        (folder / "readme.txt").write_text("notes")

    return [
        Case("truncated pixel data", damaged(lambda data: data[:-500])),
        Case("truncated header of the last slice", damaged(lambda data: data[:400], "007.dcm")),
        Case("last slice empty", damaged(lambda data: b"", "007.dcm")),
        series("last slice without pixel data", put(slice(7, 8), PixelData=None)),
        series("first slice lost", lambda d: d[1:], phantom(slices=7)),
        Case("SR object beside the images", with_report, phantom()),
        Case("files without preamble", bare, phantom()),
        Case("images in a subfolder, an empty one beside", below, phantom()),
        Case("a text file beside the images", text, phantom()),
    ]
