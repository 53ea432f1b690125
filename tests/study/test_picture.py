"""Pictures as one would see them."""

import zlib

import numpy as np
import pytest
from mcanet.scripts.study import Limits, RefusedError, find_cases, read_case
from PIL import Image, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo

from .phantom import base, write


def pixels(mode="RGB"):
    """Distinct values, 5 rows by 4 columns."""
    if mode == "RGB":
        return np.arange(60).reshape(5, 4, 3).astype("u1") * 4
    return np.arange(20).reshape(5, 4).astype("u1") * 12


def picture(file, array=None, mode=None, **options):
    """Saves a picture."""
    image = Image.fromarray(pixels() if array is None else array)
    (image.convert(mode) if mode else image).save(file, **options)
    return file


def read(file, **options):
    """The case of a file, read."""
    found = find_cases(file, **options)
    if found.refused:
        raise RefusedError(found.refused[0][1])
    return read_case(found.cases[0])


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".bmp"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_right(tmp_path, suffix, mode):
    image = read(picture(tmp_path / f"a{suffix}", pixels(mode)))
    assert image.shape == ((3 if mode == "RGB" else 1), 4, 5)
    np.testing.assert_array_equal(image.numpy().transpose(2, 1, 0).squeeze(), pixels(mode))
    assert str(image.dtype) == "torch.int16"
    np.testing.assert_array_equal(np.asarray(image.affine), np.eye(4))
    assert image.meta["warnings"] == []


def test_pixel_at_a_position(tmp_path):
    """Column 3, row 1, green."""
    assert int(read(picture(tmp_path / "a.png"))[1, 3, 1]) == (1 * 12 + 3 * 3 + 1) * 4


def test_same_axes_as_monai(tmp_path):
    from monai.transforms import LoadImage

    picture(tmp_path / "a.png")
    theirs = LoadImage(image_only=True, ensure_channel_first=True)(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png").numpy(), theirs.numpy())


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit(tmp_path, suffix):
    array = (np.arange(20).reshape(5, 4) * 3300).astype("u2")
    image = read(picture(tmp_path / f"a{suffix}", array))
    assert str(image.dtype) == "torch.float32"
    np.testing.assert_array_equal(image.numpy()[0].T, array)
    image = read(picture(tmp_path / f"b{suffix}", array // 2))
    assert str(image.dtype) == "torch.int16"


def test_palette(tmp_path):
    image = Image.fromarray(pixels()).quantize(32)
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(
        read(tmp_path / "a.png").numpy().transpose(2, 1, 0), np.asarray(image.convert("RGB"))
    )


@pytest.mark.parametrize(("mode", "channels"), [("RGBA", 3), ("LA", 1), ("1", 1), ("CMYK", 3)])
def test_other_modes(tmp_path, mode, channels):
    file = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    picture(file, mode=mode)
    image = read(file)
    assert image.shape == (channels, 4, 5)
    expected = Image.open(file).convert("RGB" if channels == 3 else "L")
    np.testing.assert_array_equal(image.numpy().transpose(2, 1, 0).squeeze(), np.asarray(expected))


def test_transparent_pixels_keep_their_colour(tmp_path):
    array = np.dstack([pixels(), np.zeros((5, 4), "u1")])
    np.testing.assert_array_equal(
        read(picture(tmp_path / "a.png", array)).numpy().transpose(2, 1, 0), pixels()
    )


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation(tmp_path, orientation, suffix):
    """Stored so that an upright picture results."""
    undo = {1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
            5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
            8: Image.Transpose.ROTATE_270}[orientation]  # fmt: skip
    upright = np.zeros((48, 32, 3), "u1")
    upright[:16, :16] = 250
    stored = Image.fromarray(upright) if undo is None else Image.fromarray(upright).transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / f"a{suffix}", exif=exif)
    found = find_cases(tmp_path)
    assert found.info[found.cases[0].case_id].shape == (32, 48)
    image = read_case(found.cases[0])
    np.testing.assert_allclose(image.numpy().transpose(2, 1, 0)[4::8, 4::8], upright[4::8, 4::8], atol=6)


@pytest.mark.parametrize("mode", ["L", "I;16", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("orientation", [3, 5, 6, 7, 8])
def test_a_turned_tiff_without_compression(tmp_path, orientation, mode):
    """Pillow maps such pixels into memory, by the size that they have upright."""
    picture(tmp_path / "a.tif", pixels("L").astype("u2") if mode == "I;16" else pixels(), mode)
    with Image.open(tmp_path / "a.tif") as image:
        image.copy().save(tmp_path / "b.tif", tiffinfo={0x0112: orientation})
        image.copy().save(tmp_path / "c.tif", tiffinfo={0x0112: orientation}, compression="tiff_lzw")
    raw, packed = read(tmp_path / "b.tif"), read(tmp_path / "c.tif")
    np.testing.assert_array_equal(raw.numpy(), packed.numpy())
    assert raw.shape[1:] == ((5, 4) if orientation > 4 else (4, 5))


def test_what_xmp_says_of_a_png_turns_nothing(tmp_path):
    told = PngInfo()
    told.add_itxt(
        "XML:com.adobe.xmp", '<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="3"></x:xmpmeta>'
    )
    image = read(picture(tmp_path / "a.png", pnginfo=told))
    np.testing.assert_array_equal(image.numpy().transpose(2, 1, 0), pixels())


def test_exif_behind_the_pixels_of_a_png_counts(tmp_path):
    content = picture(tmp_path / "a.png").read_bytes()
    exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    chunk = b"eXIf" + exif
    chunk = len(exif).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    end = content.index(b"IEND") - 4
    (tmp_path / "a.png").write_bytes(content[:end] + chunk + content[end:])
    image = read(tmp_path / "a.png")
    np.testing.assert_array_equal(image.numpy().transpose(2, 1, 0), np.rot90(pixels(), -1))
    assert image.meta["exif_orientation"] == 6


@pytest.mark.parametrize("turned", [0, 1])
def test_pages_may_be_turned_in_ways_of_their_own(tmp_path, turned):
    for page in range(2):
        tags = {0x0112: 6} if page == turned else {}
        Image.fromarray(pixels("L")).save(tmp_path / f"{page}.tif", tiffinfo=tags)
    with TiffImagePlugin.AppendingTiffWriter(tmp_path / "a.tif", new=True) as joined:
        for page in range(2):
            joined.write((tmp_path / f"{page}.tif").read_bytes())
            joined.newFrame()
    cases = find_cases(tmp_path / "a.tif", split_pages=True).cases
    assert len(cases) == 2
    for page, case in enumerate(cases):
        upright = np.rot90(pixels("L"), -1) if page == turned else pixels("L")
        np.testing.assert_array_equal(read_case(case).numpy()[0].T, upright)


def tiff(file, array, **tags):
    """A TIFF whose tags say what Pillow would not write."""
    names = {"photometric": 262, "description": 270, "sample_format": 339}
    Image.fromarray(array).save(file, tiffinfo={names[name]: value for name, value in tags.items()})
    return file


def test_a_stack_behind_one_header_is_refused(tmp_path):
    text = "ImageJ=1.53\nimages=5\nslices=5\n"
    with pytest.raises(RefusedError, match="a.tif: a stack of ImageJ, 5 images behind one header"):
        read(tiff(tmp_path / "a.tif", pixels("L"), description=text))
    assert read(tiff(tmp_path / "b.tif", pixels("L"), description="ImageJ=1.53\nimages=1\n")).shape == (
        1,
        4,
        5,
    )


def test_a_tiff_of_signed_bytes_is_refused(tmp_path):
    with pytest.raises(RefusedError, match="a.tif: its bytes have a sign"):
        read(tiff(tmp_path / "a.tif", pixels("L"), sample_format=2))


def test_unsigned_values_that_are_read_as_negative_ones_are_refused(tmp_path):
    array = np.arange(20, dtype=np.int32).reshape(5, 4)
    signed = b"\x53\x01\x03\0\x01\0\0\0\x02"  # Pillow writes SampleFormat 2
    for name, least in (("a", 0), ("b", -1)):
        content = picture(tmp_path / f"{name}.tif", array + least).read_bytes()
        (tmp_path / f"{name}.tif").write_bytes(content.replace(signed, signed[:-1] + b"\x01"))
    assert int(read(tmp_path / "a.tif").max()) == 19
    with pytest.raises(RefusedError, match="b.tif: holds values from 2147483648 on"):
        read(tmp_path / "b.tif")
    assert int(read(picture(tmp_path / "c.tif", array - 1)).min()) == -1


def test_every_page_is_looked_at(tmp_path):
    deep = [Image.fromarray(pixels("L").astype("u2")) for _ in range(2)]
    deep[0].save(tmp_path / "a.tif", save_all=True, append_images=deep[1:])
    content = (tmp_path / "a.tif").read_bytes()
    white = content.rfind(
        b"\x06\x01\x03\x00\x01\x00\x00\x00\x01\x00"
    )  # the last page's PhotometricInterpretation
    (tmp_path / "a.tif").write_bytes(content[: white + 8] + b"\0\0" + content[white + 10 :])
    with pytest.raises(RefusedError, match=r"PhotometricInterpretation is 0 \(white\) at 16 bits"):
        read(tmp_path / "a.tif", split_pages=True)


def test_multi_page(tmp_path):
    pages = [Image.fromarray(pixels("L") + page) for page in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(RefusedError, match=r"a.tif: holds 3 pages, expected 1"):
        read(tmp_path / "a.tif")
    found = find_cases(tmp_path, split_pages=True)
    assert [case.case_id for case in found.cases] == ["a-p1", "a-p2", "a-p3"]
    for page, case in enumerate(found.cases):
        np.testing.assert_array_equal(read_case(case).numpy()[0].T, pixels("L") + page)


def test_animated_png(tmp_path):
    pages = [Image.fromarray(pixels() + page) for page in range(3)]
    pages[0].save(tmp_path / "a.png", save_all=True, append_images=pages[1:])
    with pytest.raises(RefusedError, match="holds 3 pages"):
        read(tmp_path / "a.png")


def test_jpeg_warns_of_loss(tmp_path):
    assert "compressed with loss" in read(picture(tmp_path / "a.jpg")).meta["warnings"][0]


def test_wrong_suffix_is_read_and_named(tmp_path):
    picture(tmp_path / "a.png").rename(tmp_path / "a.jpg")
    image = read(tmp_path / "a.jpg")
    assert "the content is PNG" in image.meta["warnings"][0]


def test_white_is_zero(tmp_path):
    picture(tmp_path / "a.tif", pixels("L"), tiffinfo={262: 0})
    try:
        shown = np.asarray(Image.open(tmp_path / "a.tif").convert("L"))
    except OSError:
        pytest.skip("Pillow wrote no such file")
    np.testing.assert_array_equal(read(tmp_path / "a.tif").numpy()[0].T, shown)


def test_too_many_pixels_are_refused_before_decoding(tmp_path):
    """A PNG of 60000 x 60000 in a few bytes."""
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )
    with pytest.raises(RefusedError, match="more than max_voxels"):
        read(tmp_path / "a.png")


def test_large_pictures_below_our_cap_are_read(tmp_path):
    """Pillow's own guard must not refuse what our limits allow."""
    picture(tmp_path / "a.png", np.zeros((1, 200), "u1"))
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, 50
    try:
        assert read(tmp_path / "a.png").shape == (1, 200, 1)
    finally:
        Image.MAX_IMAGE_PIXELS = before


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
@pytest.mark.parametrize("keep", [0.2, 0.5, 0.8])
def test_truncated(tmp_path, suffix, keep):
    file = picture(
        tmp_path / f"a{suffix}", np.random.default_rng(0).integers(0, 255, (60, 50, 3)).astype("u1")
    )
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(RefusedError, match=f"a{suffix}: "):
        read(file)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "a.jpg: the file is empty"), (b"no picture", "a.jpg: no readable PNG, JPEG, TIFF, BMP")],
)
def test_no_picture_at_all(tmp_path, content, message):
    file = tmp_path / "a.jpg"
    file.write_bytes(content)
    with pytest.raises(RefusedError, match=message):
        read(file)


def test_voxel_limit(tmp_path):
    with pytest.raises(RefusedError, match="60 voxels, more than max_voxels = 59"):
        read(picture(tmp_path / "a.png"), limits=Limits(max_voxels=59))


def xray(photometric="MONOCHROME2", series="1.2.3", bits=12):
    """A radiograph without geometry."""
    dataset = base("1.2.840.10008.5.1.4.1.1.1.1", "DX", series)
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 5, 4, 1
    dataset.PhotometricInterpretation = photometric
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = (
        16,
        bits,
        bits - 1,
        0,
    )
    dataset.PixelData = (np.arange(20) * 100).astype("<u2").tobytes()
    return dataset


def test_xray_is_a_picture(tmp_path):
    image = read(write(tmp_path, xray()))
    assert image.shape == (1, 4, 5)
    np.testing.assert_array_equal(image.numpy()[0].T, np.arange(20).reshape(5, 4) * 100)
    assert image.meta["modality"] == "DX"


def test_monochrome1_picture_is_inverted(tmp_path):
    image = read(write(tmp_path, xray("MONOCHROME1")))
    np.testing.assert_array_equal(image.numpy()[0].T, 4095 - np.arange(20).reshape(5, 4) * 100)
    assert "MONOCHROME1: values inverted" in image.meta["warnings"][0]


def test_several_xrays_of_one_series_are_cases_of_their_own(tmp_path):
    write(tmp_path, [xray(), xray(), xray()])
    found = find_cases(tmp_path)
    assert len(found.cases) == 3
    assert len({case.case_id for case in found.cases}) == 3
    assert [case.input for case in found.cases] == ["000.dcm", "001.dcm", "002.dcm"]


@pytest.mark.parametrize("bits", [8, 16])
def test_palette_dicom(tmp_path, bits):
    dataset = base("1.2.840.10008.5.1.4.1.1.6.1", "US", "1.2.3")
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 5, 4, 1
    dataset.PhotometricInterpretation = "PALETTE COLOR"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    index = np.arange(20).astype("u1")
    dataset.PixelData = index.tobytes()
    for number, colour in enumerate(("Red", "Green", "Blue")):
        table = (np.arange(256) * (number + 1) % 256).astype(f"<u{bits // 8}") << (bits - 8)
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, bits])
        setattr(dataset, f"{colour}PaletteColorLookupTableData", table.tobytes())
    image = read(write(tmp_path, dataset))
    assert image.shape == (3, 4, 5)
    expected = np.stack([index.reshape(5, 4).astype(int) * (number + 1) for number in range(3)])
    np.testing.assert_array_equal(image.numpy().transpose(0, 2, 1), expected)
