"""NIfTI: every trap of its header and its bytes."""

import gzip
import struct

import nibabel as nib
import numpy as np
import pytest
from mcanet.scripts.study import Limits, RefusedError, find_cases, read_case

AFFINE = np.array([[-1.5, 0, 0, 20], [0, 1.25, 0.2, -30], [0, -0.2, 2, 5], [0, 0, 0, 1.0]])
ROTATED = np.array([[0, -1.25, 0, 20], [1.5, 0, 0, -30], [0, 0, 2, 5], [0, 0, 0, 1.0]])


def values(shape=(6, 7, 8), dtype="i2"):
    """Distinct values."""
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def save(file, array=None, affine=ROTATED, kind=nib.Nifti1Image, **header):
    """Writes a NIfTI file with fields of its header set."""
    file.parent.mkdir(parents=True, exist_ok=True)
    array = values() if array is None else array
    image = kind(array, affine, dtype=array.dtype)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, header.pop("sform", 1))
    image.set_qform(affine, header.pop("qform", 1))
    nib.save(image, file)
    if header:
        patch(file, **header)
    return file


def patch(file, **fields):
    """Changes fields of a written header, byte by byte."""
    packed = file.name.endswith(".gz")
    data = bytearray(gzip.decompress(file.read_bytes()) if packed else file.read_bytes())
    places = {
        "sizeof_hdr": (0, "i"), "dim": (40, "8h"), "intent_code": (68, "h"), "datatype": (70, "h"), "bitpix": (72, "h"),
        "pixdim": (76, "8f"), "vox_offset": (108, "f"), "scl_slope": (112, "f"), "scl_inter": (116, "f"),
        "xyzt_units": (123, "B"), "qform_code": (252, "h"), "sform_code": (254, "h"), "quatern_b": (256, "f"),
        "qoffset_x": (268, "f"), "srow_x": (280, "4f"), "srow_y": (296, "4f"), "srow_z": (312, "4f"), "magic": (344, "4s"),
    }  # fmt: skip
    for name, value in fields.items():
        at, form = places[name]
        struct.pack_into("<" + form, data, at, *(value if isinstance(value, tuple) else (value,)))
    file.write_bytes(gzip.compress(bytes(data)) if packed else bytes(data))


def read(file, **options):
    """The case of a file, read."""
    found = find_cases(file, **options)
    if found.refused:
        raise RefusedError(found.refused[0][1])
    return read_case(found.cases[0], **options)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "f4", "f8", "u2", "i1"])
def test_right(tmp_path, name, kind, dtype):
    array = values((3, 5, 8), dtype)
    image = read(save(tmp_path / name, array, kind=kind))
    np.testing.assert_array_equal(image.numpy()[0], array)
    np.testing.assert_allclose(np.asarray(image.affine), ROTATED, atol=1e-5)
    assert str(image.dtype) == ("torch.float32" if dtype[0] == "f" else "torch.int16")
    assert image.meta["warnings"] == []
    assert image.meta["space"] == "RAS"


def test_value_at_a_position(tmp_path):
    image = read(save(tmp_path / "a.nii.gz"))
    assert int(image[0, 2, 3, 4]) == 2 * 56 + 3 * 8 + 4


def test_big_endian(tmp_path):
    image = nib.Nifti1Image(values().astype(">i2"), ROTATED, nib.Nifti1Header(endianness=">"))
    image.set_qform(ROTATED, 1)
    nib.save(image, tmp_path / "a.nii")
    assert (tmp_path / "a.nii").read_bytes()[:4] == b"\0\0\x01\x5c"
    np.testing.assert_array_equal(read(tmp_path / "a.nii").numpy()[0], values())


@pytest.mark.parametrize(
    ("slope", "inter", "dtype"),
    [(2, -5, "int16"), (0.5, 1, "float32"), (0, 9, None), (float("nan"), float("nan"), None)],
)
def test_scaling(tmp_path, slope, inter, dtype):
    image = read(save(tmp_path / "a.nii", scl_slope=slope, scl_inter=inter))
    expected = values() * slope + inter if dtype else values()
    np.testing.assert_allclose(image.numpy()[0], expected)
    assert dtype is None or str(image.dtype) == f"torch.{dtype}"


@pytest.mark.parametrize("fields", [{"scl_slope": float("inf")}, {"scl_slope": 1.0, "scl_inter": float("nan")},
                                    {"scl_slope": 1.0, "scl_inter": float("-inf")},
                                    {"scl_slope": float("nan"), "scl_inter": 4.0}])  # fmt: skip
def test_scaling_that_is_none(tmp_path, fields):
    with pytest.raises(RefusedError, match="scl_slope"):
        read(save(tmp_path / "a.nii", **fields))


def test_only_one_form(tmp_path):
    for forms in ({"qform_code": 0}, {"sform_code": 0}):
        np.testing.assert_allclose(
            np.asarray(read(save(tmp_path / "a.nii", **forms)).affine), ROTATED, atol=1e-5
        )


REFUSED = [
    ({"sform_code": 0, "qform_code": 0}, "sform_code and qform_code are 0"),
    ({"qoffset_x": 25.0}, "sform and qform place a corner"),
    ({"srow_x": (0.0, 1.25, 0.0, 20.0)}, "sform and qform place a corner"),
    ({"srow_x": (0.0, 0.0, 0.0, 0.0)}, "sform is singular"),
    ({"srow_x": (float("nan"), 0.0, 0.0, 0.0)}, "sform holds values that are not finite"),
    ({"qoffset_x": float("inf")}, "qform holds values that are not finite"),
    ({"quatern_b": 3.0}, "quatern"),
    ({"sform_code": -1}, "sform_code is -1"),
    ({"sform_code": 77}, "sform_code is 77"),
    ({"pixdim": (1.0, 1.5, 0.0, 2.0, 0, 0, 0, 0)}, "pixdim is"),
    ({"pixdim": (1.0, 1.5, -1.25, 2.0, 0, 0, 0, 0)}, "pixdim is"),
    ({"xyzt_units": 1}, "metres"),
    ({"xyzt_units": 3}, "microns"),
    ({"dim": (3, 0, 7, 8, 1, 1, 1, 1)}, "dim is"),
    ({"dim": (3, -6, 7, 8, 1, 1, 1, 1)}, "dim is"),
    ({"dim": (0, 6, 7, 8, 1, 1, 1, 1)}, r"dim\[0\] is 0"),
    ({"dim": (9, 6, 7, 8, 1, 1, 1, 1)}, r"dim\[0\] is 9"),
    ({"dim": (3, 32767, 32767, 32767, 1, 1, 1, 1)}, "more than max_voxels"),
    ({"dim": (4, 6, 7, 4, 2, 1, 1, 1)}, "expected one 3D volume"),
    ({"dim": (3, 6, 7, 9, 1, 1, 1, 1)}, "truncated|damaged"),
    ({"datatype": 128, "bitpix": 24}, "RGB24"),
    ({"datatype": 32, "bitpix": 64}, "complex64"),
    ({"datatype": 1536, "bitpix": 128}, "float128"),
    ({"datatype": 99}, "unknown"),
    ({"bitpix": 8}, "bitpix is 8"),
    ({"vox_offset": 0.0}, "vox_offset is 0.0"),
    ({"vox_offset": 352.5}, "vox_offset is 352.5"),
    ({"vox_offset": float("nan")}, "vox_offset is nan"),
    ({"vox_offset": 1e6}, "truncated|damaged"),
    ({"vox_offset": 1e9}, "vox_offset is 1000000000.0"),
    ({"magic": b"ni1\0"}, "one half of a pair"),
    ({"magic": b"\0\0\0\0"}, "one half of a pair or Analyze"),
    ({"magic": b"xyz\0"}, "magic is"),
    ({"sizeof_hdr": 347}, "sizeof_hdr is 347"),
]


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize(("fields", "words"), REFUSED)
def test_refused(tmp_path, name, fields, words):
    with pytest.raises(RefusedError, match=words) as error:
        read(save(tmp_path / name, **fields))
    assert str(error.value).startswith(f"{name}: ")


def test_trailing_singleton_dimensions_are_3d(tmp_path):
    image = read(save(tmp_path / "a.nii", dim=(5, 6, 7, 8, 1, 1, 1, 1)))
    assert image.shape == (1, 6, 7, 8)


def test_2d_is_one_slice(tmp_path):
    image = read(save(tmp_path / "a.nii", values((6, 7))))
    assert image.shape == (1, 6, 7, 1)


def test_vector_image(tmp_path):
    with pytest.raises(RefusedError, match="expected one 3D volume"):
        read(save(tmp_path / "a.nii", values((4, 4, 4, 1, 3), "f4")))


def test_volumes_become_channels_where_so_many_are_expected(tmp_path):
    given = values((6, 7, 4, 3))
    file = save(tmp_path / "a.nii.gz", given)
    image = read(file, limits=Limits(nifti_volumes=3))
    assert np.array_equal(image.numpy(), np.moveaxis(given, -1, 0))
    with pytest.raises(
        RefusedError, match="expected one 3D volume, split the file, or 2 volumes as channels"
    ):
        read(file, limits=Limits(nifti_volumes=2))
    assert read(save(tmp_path / "b.nii", values()), limits=Limits(nifti_volumes=3)).shape[0] == 1


def test_unknown_unit_warns(tmp_path):
    image = read(save(tmp_path / "a.nii", xyzt_units=0))
    assert image.meta["warnings"] == ["xyzt_units names no unit, millimetres assumed"]


def test_shear_warns(tmp_path):
    sheared = np.array([[1, 0.1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    image = read(save(tmp_path / "a.nii", affine=sheared, qform=0, qform_code=0))
    assert "sheared by 5.71 degrees" in image.meta["warnings"][0]
    np.testing.assert_allclose(np.asarray(image.affine), sheared)


def test_nonfinite_voxels(tmp_path):
    array = values(dtype="f4")
    array[1, 2, 3], array[2, 2, 2] = np.nan, np.inf
    save(tmp_path / "a.nii.gz", array)
    with pytest.raises(RefusedError, match="2 voxels are NaN or infinite"):
        read(tmp_path / "a.nii.gz")
    image = read(tmp_path / "a.nii.gz", limits=Limits(fill_nonfinite=-7.0))
    assert float(image[0, 1, 2, 3]) == -7
    assert float(image[0, 3, 3, 3]) == array[3, 3, 3]
    assert "2 voxels were NaN or infinite and set to -7" in image.meta["warnings"]


@pytest.mark.parametrize("dtype", ["u4", "i8", "u8", "i4"])
def test_integers_beyond_float32(tmp_path, dtype):
    array = values(dtype=dtype)
    array[0, 0, 0] = 2**24
    image = read(save(tmp_path / "a.nii", array))
    assert int(image[0, 0, 0, 0]) == 2**24
    array[0, 0, 0] = 2**24 + 1
    with pytest.raises(RefusedError, match="which float32 cannot hold exactly"):
        read(save(tmp_path / "b.nii", array))


def test_float64_beyond_float32(tmp_path):
    array = values(dtype="f8")
    array[0, 0, 0] = 1e300
    with pytest.raises(RefusedError, match="NaN or infinite"):
        read(save(tmp_path / "b.nii", array))


@pytest.mark.parametrize("at", [0.1, 0.5, 0.9, 0.999])
def test_flipped_bit_in_gzip(tmp_path, at):
    rng = np.random.default_rng(0)
    file = save(tmp_path / "a.nii.gz", rng.integers(0, 9, (20, 20, 20)).astype("i2"))
    data = bytearray(file.read_bytes())
    data[30 + int((len(data) - 38) * at)] ^= 4
    file.write_bytes(data)
    with pytest.raises(RefusedError, match=r"a.nii.gz: "):
        read(file)


@pytest.mark.parametrize("keep", [0, 1, 10, 100, 0.5, -1, -8])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_truncated(tmp_path, name, keep):
    file = save(tmp_path / name)
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * keep)] if keep == 0.5 else data[:keep])
    with pytest.raises(RefusedError, match=f"{name}: "):
        read(file)


def test_wrong_suffix(tmp_path):
    save(tmp_path / "a.nii.gz").rename(tmp_path / "a.nii")
    with pytest.raises(RefusedError, match="the content is gzip"):
        read(tmp_path / "a.nii")
    save(tmp_path / "b.nii").rename(tmp_path / "b.nii.gz")
    with pytest.raises(RefusedError, match="the content is not gzip"):
        read(tmp_path / "b.nii.gz")


def test_gzip_bomb(tmp_path):
    """A small file that unfolds without end is stopped by what its header promises."""
    file = save(tmp_path / "a.nii.gz")
    data = gzip.decompress(file.read_bytes())
    file.write_bytes(gzip.compress(data + b"\0" * 2**26))
    assert file.stat().st_size < 200_000
    with pytest.raises(RefusedError, match="more data than dim promises"):
        read(file)
    save(file, dim=(3, 1024, 1024, 900, 1, 1, 1, 1))
    with pytest.raises(RefusedError, match="unfolds to"):
        read(file, limits=Limits(max_unpacked_bytes=2**20))


def test_gzip_of_two_members(tmp_path):
    file = save(tmp_path / "a.nii.gz")
    data = gzip.decompress(file.read_bytes())
    file.write_bytes(gzip.compress(data[:500]) + gzip.compress(data[500:]))
    np.testing.assert_array_equal(read(file).numpy()[0], values())


def test_garbage_after_gzip(tmp_path):
    file = save(tmp_path / "a.nii.gz")
    file.write_bytes(file.read_bytes() + b"garbage")
    with pytest.raises(RefusedError, match="damaged"):
        read(file)


@pytest.mark.parametrize("kind", [nib.Nifti1Pair, nib.AnalyzeImage, nib.Spm99AnalyzeImage])
def test_pairs_are_refused_with_a_word_on_conversion(tmp_path, kind):
    nib.save(kind(values(), ROTATED if kind is nib.Nifti1Pair else None), tmp_path / "a.img")
    found = find_cases(tmp_path)
    assert [case.input for case, _ in found.refused] == ["a.hdr"]
    assert "convert it to one .nii.gz" in found.refused[0][1]
    assert any("a.img: left out" in notice for notice in found.notices)


def test_bytes_that_the_header_does_not_tell_of_are_refused(tmp_path):
    file = save(tmp_path / "a.nii")
    file.write_bytes(file.read_bytes() + b"\0" * 5000)
    with pytest.raises(RefusedError, match="longer than its header says: 6024 bytes, expected 1024"):
        read(file)


def test_the_code_of_the_form_goes_along(tmp_path):
    assert read(save(tmp_path / "a.nii", sform=4)).meta["sform_code"] == 4
    assert read(save(tmp_path / "b.nii", sform=0, qform=2)).meta["sform_code"] == 2


def test_an_image_without_a_difference_is_warned_of(tmp_path):
    assert read(save(tmp_path / "a.nii", values() * 0 + 7)).meta["warnings"] == [
        "all voxels have one value, 7: there is nothing to see"
    ]
    assert not read(save(tmp_path / "b.nii")).meta["warnings"]
