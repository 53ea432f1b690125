"""Compressed DICOM: every transfer syntax right, every damage refused."""

import base64
import io
import os
import signal
import threading
import zlib

import gdcm
import numpy as np
import pytest
from mcanet.scripts.study import Limits, RefusedError, find_cases, read_case
from mcanet.scripts.study.decode import WORKER
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from .phantom import Grid, assert_right, base, classic, enhanced, only, reason_of, refusal, write

BYTES = {"bits": 8, "signed": False, "intercept": 0}
SMALL = Grid(columns=16, rows=16, slices=3, origin=(0, 0, 0), row_spacing=1, column_spacing=1, step=1)


BIG6 = Grid(columns=36, rows=34)
BIG = Grid(columns=36, rows=34, slices=4)
"""OpenJPEG encodes nothing smaller than 32 x 32."""


def with_gdcm(folder, syntax):
    """Transcodes the files of a folder in place."""
    for file in folder.iterdir():
        reader = gdcm.ImageReader()
        reader.SetFileName(str(file))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(file))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()


@pytest.mark.parametrize("options", [{}, {"bits": 12, "signed": False}, {"bits": 16, "signed": False}])
@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_lossless(tmp_path, syntax, options):
    datasets = classic(BIG, **options)
    for dataset in datasets:
        dataset.compress(syntax, generate_instance_uid=False)
    image = only(write(tmp_path, datasets))
    assert_right(image)
    assert image.meta["warnings"] == []


@pytest.mark.parametrize(
    "options", [{}, {"bits": 12, "signed": True, "intercept": 0}, {"bits": 12, "signed": False}]
)
@pytest.mark.parametrize(
    ("syntax", "uid"),
    [
        (gdcm.TransferSyntax.JPEGLosslessProcess14, JPEGLossless),
        (gdcm.TransferSyntax.JPEGLosslessProcess14_1, JPEGLosslessSV1),
        (gdcm.TransferSyntax.JPEG2000Lossless, JPEG2000Lossless),
        (gdcm.TransferSyntax.JPEGLSLossless, JPEGLSLossless),
    ],
)
def test_lossless_by_another_encoder(tmp_path, syntax, uid, options):
    write(tmp_path, classic(**options))
    with_gdcm(tmp_path, syntax)
    assert dcmread(tmp_path / "000.dcm").file_meta.TransferSyntaxUID == uid
    assert_right(only(tmp_path))


def test_negative_values_in_12_signed_bits(tmp_path):
    """JPEG-LS and JPEG lossless carry no sign: it must come from BitsStored."""
    grid = Grid(origin=(-100, -100, -50))
    write(tmp_path, classic(grid, bits=12, signed=True, intercept=0))
    with_gdcm(tmp_path, gdcm.TransferSyntax.JPEGLosslessProcess14_1)
    image = only(tmp_path)
    assert float(image.min()) < -1000
    assert_right(image)


@pytest.mark.parametrize(
    ("syntax", "options"), [(JPEGLSNearLossless, {"jls_error": 1}), (JPEG2000, {"j2k_cr": [3]})]
)
def test_lossy(tmp_path, syntax, options):
    datasets = classic(BIG)
    for dataset in datasets:
        dataset.compress(syntax, generate_instance_uid=False, **options)
        dataset.LossyImageCompression = "01"
    image = only(write(tmp_path, datasets))
    assert_right(image, quantum=8)
    assert "compressed with loss" in image.meta["warnings"][0]


def test_jpeg_baseline(tmp_path):
    grid = SMALL
    datasets = classic(grid, **BYTES)
    for index, dataset in enumerate(datasets):
        stream = io.BytesIO()
        Image.fromarray(np.rint(grid.plane(index)).astype("u1")).save(stream, "JPEG", quality=100)
        dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        dataset.PixelData = encapsulate([stream.getvalue()])
        dataset["PixelData"].is_undefined_length = True
    image = only(write(tmp_path, datasets))
    assert_right(image, quantum=6)
    assert "compressed with loss" in image.meta["warnings"][0]


def test_jpeg_extended_of_12_bits_is_refused_not_guessed(tmp_path):
    datasets = classic(SMALL, bits=12, signed=False, intercept=0)
    for dataset in datasets:
        dataset.file_meta.TransferSyntaxUID = JPEGExtended12Bit
        frame = b"\xff\xd8\xff\xc1\x00\x0b\x0c\x00\x10\x00\x10\x01\x01\x11\x00" + b"\0" * 20 + b"\xff\xd9"
        dataset.PixelData = encapsulate([frame])
        dataset["PixelData"].is_undefined_length = True
    write(tmp_path, datasets)
    with pytest.raises(RefusedError, match="cannot be decoded"):
        read_case(find_cases(tmp_path).cases[0])


HTJ2K_FRAMES = (
    "/0//UQApQAAAAAAQAAAAEAAAAAAAAAAAAAAAEAAAABAAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wA"
    "EyCIkJCQkJCQkJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAGwAAf+TwAAlZQUHdAAAwAASwAAS"
    "gPYAB3QA2gCHdADAABLAABMAqgDCdAAs+wADVADAABPAABUAJPmgp0J1AJSI/sHJ7LUAwAAqYAAVgAAA5+np6eJ3AAgAAP79"
    "knv2Sey4AP/Z",
    "/0//UQApQAAAAAAQAAAAEAAAAAAAAAAAAAAAEAAAABAAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wA"
    "EyCIkJCQkJCQkJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAGwAAf+TwAAlVwUHdAAAwAASwAAS"
    "gPYAB3QA2gCHdADAABLAABMAqgDCdAAs+wADVADAABPAABUAJPmgp0J1AJSI/sHJ7LUAwAAqYAAVgAAA5+np6eJ3AAgAAP79"
    "knv2Sey4AP/Z",
    "/0//UQApQAAAAAAQAAAAEAAAAAAAAAAAAAAAEAAAABAAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wA"
    "EyCIkJCQkJCQkJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAGwAAf+TwAAlSQUHdAAAwAASwAAS"
    "gPYAB3QA2gCHdADAABLAABMAqgDCdAAs+wADVADAABPAABUAJPmgp0J1AJSI/sHJ7LUAwAAqYAAVgAAA5+np6eJ3AAgAAP79"
    "knv2Sey4AP/Z",
)


@pytest.mark.parametrize("syntax", [HTJ2K, HTJ2KLossless])
def test_htj2k(tmp_path, syntax):
    """Slices of SMALL made once with OpenJPH; no encoder is in the environment."""
    datasets = classic(SMALL, bits=16, signed=False, intercept=0)
    for dataset, text in zip(datasets, HTJ2K_FRAMES, strict=True):
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.PixelData = encapsulate([base64.b64decode(text)])
        dataset["PixelData"].is_undefined_length = True
    assert_right(only(write(tmp_path, datasets)))


@pytest.mark.parametrize("fragments", [1, 3])
def test_enhanced_compressed(tmp_path, fragments):
    dataset = enhanced(BIG6, order=[3, 0, 5, 1, 4, 2])
    dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
    from pydicom.encaps import generate_frames

    frames = list(generate_frames(dataset.PixelData, number_of_frames=6))
    dataset.PixelData = encapsulate(frames, fragments_per_frame=fragments, has_bot=fragments > 1)
    assert_right(only(write(tmp_path, dataset)), quantum=0.5)


def test_fragments_without_offset_table(tmp_path):
    dataset = enhanced(BIG6)
    dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
    from pydicom.encaps import generate_frames

    frames = list(generate_frames(dataset.PixelData, number_of_frames=6))
    dataset.PixelData = encapsulate(frames, fragments_per_frame=2, has_bot=False)
    assert_right(only(write(tmp_path, dataset)), quantum=0.5)


def test_deflated(tmp_path):
    for dataset in classic():
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        dataset.save_as(tmp_path / f"{dataset.InstanceNumber}", enforce_file_format=True)
    assert_right(only(tmp_path))


def test_deflated_bomb_is_bounded(tmp_path):
    datasets = classic(Grid(slices=1))
    datasets[0].file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    write(tmp_path, datasets)
    file = tmp_path / "000.dcm"
    data = file.read_bytes()
    end = 144 + int.from_bytes(data[140:144], "little")
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    file.write_bytes(data[:end] + packer.compress(b"\0" * 2**24) + packer.flush())
    assert "unfolds to" in refusal(tmp_path, limits=Limits(max_deflated_bytes=2**20))


@pytest.mark.parametrize("cut", [2, 40, 200])
@pytest.mark.parametrize(
    "syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless, DeflatedExplicitVRLittleEndian]
)
def test_truncated_file(tmp_path, syntax, cut):
    datasets = classic(BIG)
    for dataset in datasets:
        if syntax == DeflatedExplicitVRLittleEndian:
            dataset.file_meta.TransferSyntaxUID = syntax
        else:
            dataset.compress(syntax, generate_instance_uid=False)
    write(tmp_path, datasets)
    file = tmp_path / "003.dcm"
    file.write_bytes(file.read_bytes()[:-cut])
    assert "003.dcm: " in reason_of(tmp_path)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
@pytest.mark.parametrize("keep", [0.5, 0.9])
def test_truncated_codestream_in_whole_fragments(tmp_path, syntax, keep):
    """The items are intact, the picture inside is not."""
    datasets = classic(Grid(columns=32, rows=32))
    for index, dataset in enumerate(datasets):
        dataset.compress(syntax, generate_instance_uid=False)
        if index == 3:
            from pydicom.encaps import generate_frames

            (frame,) = generate_frames(dataset.PixelData, number_of_frames=1)
            dataset.PixelData = encapsulate([frame[: int(len(frame) * keep) // 2 * 2]])
    write(tmp_path, datasets)
    with pytest.raises(RefusedError, match=r"003\.dcm"):
        read_case(find_cases(tmp_path).cases[0])


def test_codestream_of_another_size(tmp_path):
    datasets = classic(BIG)
    other = classic(Grid(columns=34, rows=36))[0]
    other.compress(JPEG2000Lossless, generate_instance_uid=False)
    for dataset in datasets:
        dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
    datasets[2].PixelData = other.PixelData
    write(tmp_path, datasets)
    with pytest.raises(RefusedError, match=r"002.dcm: Rows is 34, but the compressed frame says 36"):
        read_case(find_cases(tmp_path).cases[0])


def test_too_few_frames(tmp_path):
    dataset = enhanced(BIG6)
    dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
    from pydicom.encaps import generate_frames

    dataset.PixelData = encapsulate(list(generate_frames(dataset.PixelData, number_of_frames=6))[:5])
    write(tmp_path, dataset)
    with pytest.raises(RefusedError, match="5 compressed frames, expected NumberOfFrames 6"):
        read_case(find_cases(tmp_path).cases[0])


def test_native_pixels_under_a_compressed_syntax(tmp_path):
    write(tmp_path, classic())
    for file in tmp_path.iterdir():
        data = file.read_bytes()
        file.write_bytes(data.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0", 1))
    with pytest.raises(RefusedError, match="PixelData is not encapsulated"):
        read_case(find_cases(tmp_path).cases[0])


def test_compressed_pixels_under_a_native_syntax(tmp_path):
    datasets = classic(BIG)
    for dataset in datasets:
        dataset.compress(RLELossless, generate_instance_uid=False)
    write(tmp_path, datasets)
    for file in tmp_path.iterdir():
        data = file.read_bytes()
        file.write_bytes(data.replace(b"1.2.840.10008.1.2.5\0", b"1.2.840.10008.1.2.1\0", 1))
    assert reason_of(tmp_path).startswith("000.dcm: PixelData is")


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
@pytest.mark.parametrize("syntax", [None, RLELossless, JPEG2000Lossless])
def test_colour_picture(tmp_path, photometric, syntax):
    if photometric == "YBR_FULL" and syntax == JPEG2000Lossless:
        pytest.skip("JPEG 2000 has colour models of its own")
    rgb = np.zeros((34, 36, 3), "u1")
    rgb[:, :4], rgb[:, 4:] = (200, 40, 90), (10, 220, 130)
    stored = rgb if photometric == "RGB" else np.asarray(Image.fromarray(rgb).convert("YCbCr"))
    dataset = base("1.2.840.10008.5.1.4.1.1.7", "OT", "1.2.3")
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 34, 36, 3
    dataset.PhotometricInterpretation, dataset.PlanarConfiguration = photometric, 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OB"
    if syntax:
        dataset.compress(syntax, generate_instance_uid=False)
    image = only(write(tmp_path, dataset))
    assert image.shape == (3, 36, 34)
    np.testing.assert_allclose(image[:, 1, 2].numpy(), (200, 40, 90), atol=2)
    np.testing.assert_allclose(image[:, 6, 3].numpy(), (10, 220, 130), atol=2)


def write_compressed(folder):
    """A series that only the decoder's process can unfold."""
    datasets = classic(BIG)
    for dataset in datasets:
        dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
    write(folder, datasets)


def test_the_decoder_dies_and_the_next_case_is_read(tmp_path):
    """A crash in native code ends one case, not the run."""
    for name in ("a", "b"):
        write_compressed(tmp_path / name)
    first, second = find_cases(tmp_path).cases
    assert_right(read_case(first))
    os.kill(WORKER.process.pid, signal.SIGSEGV)
    WORKER.process.wait()
    assert_right(read_case(second))


def test_a_decoder_that_waits_for_a_busy_machine_is_no_fault_of_the_file(tmp_path):
    write_compressed(tmp_path)
    case = find_cases(tmp_path).cases[0]
    assert_right(read_case(case))
    waiting = WORKER.process.pid
    os.kill(waiting, signal.SIGSTOP)
    goes_on = threading.Timer(1.5, os.kill, (waiting, signal.SIGCONT))
    goes_on.start()
    assert_right(read_case(case, Limits(decode_seconds=0.5)))
    assert WORKER.process.pid == waiting
    goes_on.join()


def test_the_decoder_takes_too_long(tmp_path):
    write_compressed(tmp_path)
    case = find_cases(tmp_path).cases[0]
    WORKER.close()
    with pytest.raises(RefusedError, match="took longer than decode_seconds"):
        read_case(case, Limits(decode_seconds=0.001))
    assert_right(read_case(case))


def _picture(rgb, **attributes):
    """A secondary capture of colours, (rows, columns, 3)."""
    dataset = base("1.2.840.10008.5.1.4.1.1.7", "OT", "1.2.3")
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = *rgb.shape[:2], 3
    dataset.PhotometricInterpretation, dataset.PlanarConfiguration = "RGB", 0
    bits = rgb.dtype.itemsize * 8
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = (
        bits, bits, bits - 1, 0,
    )  # fmt: skip
    dataset.PixelData = rgb.tobytes()
    dataset["PixelData"].VR = "OW" if bits > 8 else "OB"
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def _colours():
    y, x = np.mgrid[:34, :36]
    return np.stack([5 * x, 7 * y, 255 - 3 * x - 2 * y], -1).astype("u1")


@pytest.mark.parametrize(
    "syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless, JPEGBaseline8Bit, JPEGLosslessSV1]
)
def test_planar_configuration_of_a_compressed_picture_means_nothing(tmp_path, syntax):
    """It is left over from the uncompressed original (PS3.5, 8.2)."""
    dataset = _picture(_colours())
    if syntax == JPEGBaseline8Bit:
        stream = io.BytesIO()
        Image.fromarray(_colours()).save(stream, "JPEG", quality=95, subsampling=0)
        dataset.PixelData = encapsulate([stream.getvalue()])
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.PhotometricInterpretation = "YBR_FULL"
    elif syntax != JPEGLosslessSV1:
        dataset.compress(syntax, generate_instance_uid=False)
    write(tmp_path, dataset)
    if syntax == JPEGLosslessSV1:
        with_gdcm(tmp_path, gdcm.TransferSyntax.JPEGLosslessProcess14_1)
    for planar in (0, 1):
        stored = dcmread(tmp_path / "000.dcm")
        stored.PlanarConfiguration = planar
        stored.save_as(tmp_path / "000.dcm")
        image = only(tmp_path)
        np.testing.assert_allclose(image.numpy().transpose(2, 1, 0), _colours(), atol=12)


@pytest.mark.parametrize(("shift", "high_bit", "junk"), [(8, 15, 0), (0, 7, 0x300)])
def test_unused_bits_of_colours_are_cleared(tmp_path, shift, high_bit, junk):
    stored = (_colours().astype("<u2") << shift) | junk
    image = only(write(tmp_path, _picture(stored, BitsStored=8, HighBit=high_bit)))
    np.testing.assert_array_equal(image.numpy().transpose(2, 1, 0), _colours())
    assert any("bits above BitsStored" in warning for warning in image.meta["warnings"]) == bool(junk)


def test_a_palette_of_16_bits_that_holds_bytes_is_not_read_as_black(tmp_path):
    dataset = _picture(_colours(), SamplesPerPixel=1, PhotometricInterpretation="PALETTE COLOR")
    dataset.PixelData = _colours()[..., 0].tobytes()
    for colour in ("Red", "Green", "Blue"):
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(dataset, f"{colour}PaletteColorLookupTableData", np.arange(256, dtype="<u2").tobytes())
    assert "16 bits of which none is above 255" in reason_of(write(tmp_path, dataset))


def test_signed_jpeg_2000_under_an_unsigned_header_is_refused(tmp_path):
    datasets = classic(BIG)
    for dataset in datasets:
        dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
        dataset.PixelRepresentation = 0
    assert "the compressed frame has a sign" in reason_of(write(tmp_path, datasets))


def test_jpeg_2000_that_transforms_its_colours_itself_is_not_converted_twice(tmp_path):
    dataset = _picture(_colours(), PhotometricInterpretation="YBR_RCT")
    dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
    write(tmp_path, dataset)
    stored = dcmread(tmp_path / "000.dcm")
    stored.PhotometricInterpretation = "YBR_FULL"
    stored.save_as(tmp_path / "000.dcm")
    assert "PhotometricInterpretation is YBR_FULL" in reason_of(tmp_path)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
def test_a_high_bit_that_the_compressed_frame_does_not_have_is_refused(tmp_path, syntax):
    datasets = classic(BIG, bits=12, signed=False)
    for dataset in datasets:
        dataset.compress(syntax, generate_instance_uid=False)
        dataset.HighBit = 15
    assert "HighBit is 15 with BitsStored 12" in reason_of(write(tmp_path, datasets))


def test_a_palette_of_which_one_colour_is_dark(tmp_path):
    dataset = _picture(_colours(), SamplesPerPixel=1, PhotometricInterpretation="PALETTE COLOR")
    dataset.PixelData = _colours()[..., 0].tobytes()
    for colour, factor in (("Red", 257), ("Green", 257), ("Blue", 0.5)):
        table = (np.arange(256) * factor).astype("<u2")
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(dataset, f"{colour}PaletteColorLookupTableData", table.tobytes())
    image = only(write(tmp_path, dataset))
    np.testing.assert_array_equal(image.numpy()[0].T, _colours()[..., 0])
    assert not image.numpy()[2].any()
