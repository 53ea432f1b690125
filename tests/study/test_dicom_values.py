"""What the stored numbers mean: rescale, bits, signs, padding."""

import numpy as np
import pytest
from mcanet.scripts.study import RefusedError, find_cases, read_case
from pydicom import dcmwrite
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from .phantom import Grid, assert_right, classic, ds, enhanced, only, refusal, sequence, store, write


def test_mr_without_rescale(tmp_path):
    image = only(write(tmp_path, classic(modality="MR", rescale=False)))
    assert_right(image)
    assert image.meta["modality"] == "MR"
    assert image.meta["warnings"] == []


def test_ct_without_rescale_warns(tmp_path):
    image = only(write(tmp_path, classic(rescale=False)))
    assert "CT without RescaleSlope" in image.meta["warnings"][0]


def test_fractional_slope_gives_float32(tmp_path):
    image = only(write(tmp_path, classic(slope=0.25, intercept=-7.5)))
    assert str(image.dtype) == "torch.float32"
    assert_right(image, quantum=0.25)


def test_slopes_that_differ_by_slice(tmp_path):
    datasets = classic(modality="MR")
    for index, dataset in enumerate(datasets):
        slope = 0.1 + 0.05 * index
        dataset.RescaleSlope, dataset.RescaleIntercept = ds(slope)[0], "-50"
        store(dataset, Grid().plane(index), slope, -50.0)
    assert_right(only(write(tmp_path, datasets)), quantum=0.4)


def test_bits_that_differ_by_slice(tmp_path):
    datasets = classic(slope=2, intercept=-1024)
    store(datasets[3], Grid().plane(3), 2, -1024, bits=12, signed=False)
    assert_right(only(write(tmp_path, datasets)), quantum=2)


@pytest.mark.parametrize("one", [True, False])
@pytest.mark.parametrize("value", ["0", "nan", "inf", "-inf"])
@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
def test_rescale_that_is_no_scale(tmp_path, keyword, value, one):
    datasets = classic()
    for dataset in datasets[2:3] if one else datasets:
        dataset.add_new(keyword, "LO", value)
        dataset[keyword].VR = "LO"
    write(tmp_path, datasets)
    if keyword == "RescaleIntercept" and value == "0":
        assert find_cases(tmp_path).cases
    else:
        assert f"{keyword} is" in refusal(tmp_path)


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
@pytest.mark.parametrize("which", [slice(None), slice(2, 3)])
def test_half_of_a_rescale(tmp_path, keyword, which):
    datasets = classic()
    for dataset in datasets[which]:
        del dataset[keyword]
    assert f"{keyword} is missing" in refusal(write(tmp_path, datasets))


def test_one_slice_without_rescale(tmp_path):
    datasets = classic()
    del datasets[3].RescaleSlope, datasets[3].RescaleIntercept
    assert "003.dcm: RescaleSlope is missing, but 000.dcm has it" in refusal(write(tmp_path, datasets))


def test_first_slice_without_rescale_is_the_one_named(tmp_path):
    datasets = classic()
    del datasets[0].RescaleSlope, datasets[0].RescaleIntercept
    assert "000.dcm: RescaleSlope is missing" in refusal(write(tmp_path, datasets))


def test_rescale_types_that_differ(tmp_path):
    datasets = classic()
    for index, dataset in enumerate(datasets):
        dataset.RescaleType = "HU" if index else "US"
    assert "RescaleType is" in refusal(write(tmp_path, datasets))


def test_modality_lut_is_refused(tmp_path):
    datasets = classic(rescale=False)
    for dataset in datasets:
        dataset.ModalityLUTSequence = sequence(LUTExplanation="x")
    assert "ModalityLUTSequence" in refusal(write(tmp_path, datasets))


@pytest.mark.parametrize(
    ("bits", "signed", "intercept"), [(12, False, -1024), (12, True, 100), (16, False, -1024), (13, True, 0)]
)
def test_stored_bits_and_signs(tmp_path, bits, signed, intercept):
    image = only(write(tmp_path, classic(bits=bits, signed=signed, intercept=intercept)))
    assert_right(image)
    assert str(image.dtype) == "torch.int16"


@pytest.mark.parametrize("signed", [True, False])
def test_garbage_above_the_stored_bits_is_cleared(tmp_path, signed):
    datasets = classic(bits=12, signed=signed, intercept=0 if signed else -1024)
    for dataset in datasets:
        stored = np.frombuffer(dataset.PixelData, "<u2").copy()
        stored[::3] = (stored[::3] & 0x0FFF) | 0xA000
        stored[1::3] &= 0x0FFF
        dataset.PixelData = stored.tobytes()
    image = only(write(tmp_path, datasets))
    assert_right(image)
    assert any("above BitsStored" in warning for warning in image.meta["warnings"])


def test_sign_extension_is_no_garbage(tmp_path):
    datasets = classic(bits=12, signed=True, intercept=0)
    for dataset in datasets[::2]:  # a sign that is not extended is none, either
        dataset.PixelData = (np.frombuffer(dataset.PixelData, "<u2") & 0x0FFF).tobytes()
    image = only(write(tmp_path, datasets))
    assert_right(image)
    assert image.meta["warnings"] == []


def test_values_in_the_high_bits(tmp_path):
    """HighBit 15 with BitsStored 12: the value sits in the upper bits."""
    datasets = classic(bits=12, signed=False)
    for dataset in datasets:
        dataset.PixelData = (np.frombuffer(dataset.PixelData, "<u2") << 4).tobytes()
        dataset.HighBit = 15
    assert_right(only(write(tmp_path, datasets)))


@pytest.mark.parametrize(
    "attributes", [{"BitsStored": 17}, {"HighBit": 16}, {"HighBit": 3}, {"BitsAllocated": 12}]
)
def test_bits_that_do_not_fit_together(tmp_path, attributes):
    datasets = classic()
    for keyword, value in attributes.items():
        setattr(datasets[0], keyword, value)
    assert "do not fit together" in refusal(write(tmp_path, datasets))


def test_int16_becomes_float32_when_a_late_value_does_not_fit(tmp_path):
    datasets = classic()
    values = Grid().plane(5).copy()
    store(datasets[5], values, 1, -1024, bits=16, signed=False)
    stored = np.frombuffer(datasets[5].PixelData, "<u2").copy()
    stored[7] = 60000
    datasets[5].PixelData = stored.tobytes()
    image = only(write(tmp_path, datasets))
    assert str(image.dtype) == "torch.float32"
    assert float(image[0, 7, 0, 5]) == 60000 - 1024
    image = image.clone()
    image[0, 7, 0, 5] = round(float(Grid().plane(5)[0, 7]))
    assert_right(image)


def test_32_bit_integers(tmp_path):
    datasets = classic(bits=32, intercept=0)
    assert_right(only(write(tmp_path, datasets)))
    stored = np.frombuffer(datasets[2].PixelData, "<i4").copy()
    stored[0] = 2**24 + 1
    datasets[2].PixelData = stored.tobytes()
    write(tmp_path, datasets)
    with pytest.raises(RefusedError, match="whole numbers up to 16777217, which float32 cannot hold"):
        read_case(find_cases(tmp_path).cases[0])


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_float_pixel_data(tmp_path, kind):
    datasets = classic(modality="MR", rescale=False)
    for index, dataset in enumerate(datasets):
        del dataset.PixelData, dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit
        data = Grid().plane(index).astype(kind).tobytes()
        dataset.BitsAllocated = int(kind[1]) * 8
        setattr(dataset, "FloatPixelData" if kind == "f4" else "DoubleFloatPixelData", data)
    image = only(write(tmp_path, datasets))
    assert str(image.dtype) == "torch.float32"
    assert_right(image, quantum=1e-3)


def test_float_pixels_with_nan(tmp_path):
    datasets = classic(modality="MR", rescale=False)
    for index, dataset in enumerate(datasets):
        del dataset.PixelData
        dataset.BitsAllocated = 32
        values = Grid().plane(index).astype("f4")
        values[0, 0] = np.nan
        dataset.FloatPixelData = values.tobytes()
    write(tmp_path, datasets)
    with pytest.raises(RefusedError, match="not finite"):
        read_case(find_cases(tmp_path).cases[0])


def test_monochrome1_volume_keeps_its_values_and_says_so(tmp_path):
    datasets = classic()
    for dataset in datasets:
        dataset.PhotometricInterpretation = "MONOCHROME1"
    image = only(write(tmp_path, datasets))
    assert_right(image)
    assert "MONOCHROME1: for display only, values kept" in image.meta["warnings"][0]


def test_padding_is_reported(tmp_path):
    datasets = classic()
    for dataset in datasets:
        dataset.PixelPaddingValue = -2000
        dataset["PixelPaddingValue"].VR = "SS"
    image = only(write(tmp_path, datasets))
    assert any("PixelPaddingValue" in warning for warning in image.meta["warnings"])


@pytest.mark.parametrize("cut", [1, 100, 239])
@pytest.mark.parametrize("which", [0, 3, 5])
def test_truncated_pixel_data(tmp_path, cut, which):
    write(tmp_path, classic())
    file = tmp_path / f"{which:03d}.dcm"
    file.write_bytes(file.read_bytes()[:-cut])
    found = find_cases(tmp_path)
    reasons = [reason for _, reason in found.refused]
    for case in found.cases:
        with pytest.raises(RefusedError) as error:
            read_case(case)
        reasons.append(str(error.value))
    assert len(reasons) == 1
    assert f"{which:03d}.dcm" in reasons[0]
    assert "truncated" in reasons[0]


def test_bytes_after_the_pixel_data_are_ignored(tmp_path):
    write(tmp_path, classic())
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes() + b"\xfc\xff\xfc\xffOB\0\0\x04\0\0\0\0\0\0\0")
    assert_right(only(tmp_path))


def test_pixel_data_longer_than_the_header_says(tmp_path):
    datasets = classic()
    datasets[1].PixelData = datasets[1].PixelData * 2
    write(tmp_path, datasets)
    with pytest.raises(RefusedError, match=r"001.dcm: PixelData has 480 bytes, expected 240"):
        read_case(find_cases(tmp_path).cases[0])


def test_odd_length_pixel_data(tmp_path):
    datasets = classic(
        Grid(columns=11, rows=9, origin=(0, 0, 0), step=1, slices=3), bits=8, signed=False, intercept=0
    )
    for dataset in datasets:
        dataset.PixelData += b"\0"
    assert_right(only(write(tmp_path, datasets)))


def test_slice_without_pixel_data(tmp_path):
    datasets = classic()
    del datasets[4].PixelData
    assert "004.dcm: PixelData is missing" in refusal(write(tmp_path, datasets))


def encode(dataset, file, syntax):
    """Writes a data set in another uncompressed transfer syntax."""
    plain = Dataset(dataset)
    plain.file_meta = dataset.file_meta
    plain.file_meta.TransferSyntaxUID = syntax
    dcmwrite(
        file,
        plain,
        implicit_vr=syntax.is_implicit_VR,
        little_endian=syntax.is_little_endian,
        enforce_file_format=True,
    )


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_other_uncompressed_encodings(tmp_path, syntax):
    datasets = classic()
    for dataset in datasets:
        dataset.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
        encode(dataset, tmp_path / f"{dataset.InstanceNumber}.dcm", syntax)
    assert_right(only(tmp_path))


@pytest.mark.parametrize("shape", [(9, 11), (10, 12)])
def test_big_endian_bytes_in_words(tmp_path, shape):
    """Eight-bit pixels in OW are swapped in pairs by big endian."""
    rows, columns = shape
    grid = Grid(columns=columns, rows=rows, origin=(0, 0, 0), step=1, slices=3)
    for dataset in classic(grid, bits=8, signed=False, intercept=0):
        dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        data = np.frombuffer(dataset.PixelData + b"\0" * (len(dataset.PixelData) % 2), "<u2")
        dataset.PixelData = data.byteswap().tobytes()
        dataset["PixelData"].VR = "OW"
        encode(dataset, tmp_path / f"{dataset.InstanceNumber}.dcm", ExplicitVRBigEndian)
    assert_right(only(tmp_path))


@pytest.mark.parametrize("little", [True, False])
def test_without_preamble_and_meta(tmp_path, little):
    """Files that begin with their first element, implicit or explicit little endian."""
    for dataset in classic():
        plain = dataset.copy()
        del plain.file_meta
        plain.preamble = None
        plain.save_as(
            tmp_path / f"IM{dataset.InstanceNumber}",
            implicit_vr=little,
            little_endian=True,
            force_encoding=True,
        )
    assert_right(only(tmp_path))


def test_big_endian_enhanced(tmp_path):
    dataset = enhanced()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
    encode(dataset, tmp_path / "e.dcm", ExplicitVRBigEndian)
    assert_right(only(tmp_path), quantum=0.5)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.100", "1.2.3.4", "1.2.840.113619.5.2"])
def test_unknown_transfer_syntax(tmp_path, syntax):
    write(tmp_path, classic())
    for file in tmp_path.iterdir():
        data = file.read_bytes()
        old = b"\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.1\0"
        assert old in data
        value = syntax.encode() + b"\0" * (len(syntax) % 2)
        file.write_bytes(data.replace(old, b"\x02\x00\x10\x00UI" + len(value).to_bytes(2, "little") + value))
    assert "TransferSyntaxUID is" in refusal(tmp_path)
