"""Whatever the orientation, spacing, order or cut: right or refused, never anything else."""

import gzip
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcanet.scripts.study import Limits, RefusedError, find_cases, read_case

from .phantom import Grid, assert_right, classic, enhanced, linear, only, refusal, rotation, write
from .test_nifti import save, values

SOME = st.integers(2, 8)
ANGLE = st.floats(-180, 180, allow_nan=False)
SPACING = st.floats(0.2, 5)
PLACE = st.floats(-300, 300)
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


@st.composite
def grids(draw, slices=SOME):
    """Any regular stack of slices, straight or sheared by up to 30 degrees."""
    step = draw(SPACING)
    axes = rotation(draw(ANGLE), draw(ANGLE), draw(ANGLE))
    shear = step * np.tan(np.deg2rad(draw(st.sampled_from([0, 0, 10, -25, 30])))) * axes[1]
    return Grid(
        columns=draw(st.integers(1, 9)),
        rows=draw(st.integers(1, 9)),
        slices=draw(slices),
        row_spacing=draw(SPACING),
        column_spacing=draw(SPACING),
        step=step,
        axes=axes,
        origin=[draw(PLACE), draw(PLACE), draw(PLACE)],
        shear=shear,
    )


@QUICK
@given(grid=grids(), data=st.data())
def test_any_stack_in_any_order(grid, data):
    datasets = classic(grid, intercept=0)
    order = data.draw(st.permutations(range(len(datasets))))
    with tempfile.TemporaryDirectory() as folder:
        image = only(write(Path(folder), [datasets[index] for index in order]))
    assert image.shape == (1, grid.columns, grid.rows, grid.slices)
    assert_right(image, quantum=1.2)


@QUICK
@given(grid=grids(), data=st.data())
def test_any_stack_of_frames_in_any_order(grid, data):
    order = data.draw(st.permutations(range(grid.slices)))
    slopes = data.draw(st.lists(st.floats(0.3, 0.9), min_size=grid.slices, max_size=grid.slices))
    with tempfile.TemporaryDirectory() as folder:
        assert_right(only(write(Path(folder), enhanced(grid, order=order, slopes=slopes))), quantum=1.2)


@QUICK
@given(grid=grids(st.integers(5, 9)), data=st.data())
def test_any_lost_slice_within_is_refused(grid, data):
    lost = data.draw(st.integers(1, grid.slices - 2))
    datasets = [one for index, one in enumerate(classic(grid, intercept=0)) if index != lost]
    with tempfile.TemporaryDirectory() as folder:
        assert "1 slice missing" in refusal(write(Path(folder), datasets))


@QUICK
@given(grid=grids(st.integers(4, 8)), data=st.data())
def test_any_moved_slice_is_refused(grid, data):
    """A slice that lies 12 % to 40 % of a step off its place."""
    which = data.draw(st.integers(0, grid.slices - 1))
    by = data.draw(st.floats(0.12, 0.4)) * data.draw(st.sampled_from([-1, 1]))
    datasets = classic(grid, intercept=0)
    place = grid.position(which + by)
    datasets[which].ImagePositionPatient = [f"{value:.8g}" for value in place]
    with tempfile.TemporaryDirectory() as folder:
        assert ".dcm: " in refusal(write(Path(folder), datasets))


@pytest.fixture(scope="module")
def series_files():
    """The bytes of a phantom series."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), classic())
        return [file.read_bytes() for file in sorted(Path(folder).iterdir())]


@settings(QUICK, max_examples=60)
@given(which=st.integers(0, 5), keep=st.integers(0, 1160))
def test_a_file_cut_anywhere_refuses_its_series(series_files, which, keep):
    with tempfile.TemporaryDirectory() as folder:
        for index, content in enumerate(series_files):
            cut = content[: min(keep, len(content) - 1)] if index == which else content
            (Path(folder) / f"{index}.dcm").write_bytes(cut)
        found = find_cases(folder)
    assert found.cases == ()
    assert f"{which}.dcm: " in found.refused[0][1]


@QUICK
@given(
    turn=st.tuples(ANGLE, ANGLE, ANGLE),
    sizes=st.tuples(SPACING, SPACING, SPACING),
    place=st.tuples(PLACE, PLACE, PLACE),
    flip=st.sampled_from([-1, 1]),
    suffix=st.sampled_from([".nii", ".nii.gz"]),
)
def test_any_nifti_affine(turn, sizes, place, flip, suffix):
    affine = np.eye(4)
    affine[:3, :3] = rotation(*turn).T * np.array(sizes) * [1, 1, flip]
    affine[:3, 3] = place
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder) / f"a{suffix}", affine=affine)
        image = only(Path(folder))
    np.testing.assert_allclose(np.asarray(image.affine), affine, atol=1e-3)
    np.testing.assert_array_equal(image.numpy()[0], values())


@settings(QUICK, max_examples=60)
@given(keep=st.floats(0, 0.999999), suffix=st.sampled_from([".nii", ".nii.gz"]))
def test_a_nifti_cut_anywhere_is_refused(keep, suffix):
    with tempfile.TemporaryDirectory() as folder:
        file = save(Path(folder) / f"a{suffix}")
        data = file.read_bytes()
        file.write_bytes(data[: int(len(data) * keep)])
        with pytest.raises(RefusedError, match=f"a{suffix}: "):
            _read_all(Path(folder))


@settings(QUICK, max_examples=80)
@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_bit_flipped_anywhere_in_gzip(at, bit):
    """Refused, or where the file still unpacks to the same bytes, read as it was."""
    with tempfile.TemporaryDirectory() as folder:
        file = save(Path(folder) / "a.nii.gz")
        whole = file.read_bytes()
        data = bytearray(whole)
        data[int(len(data) * at)] ^= 1 << bit
        file.write_bytes(data)
        image, reason = _outcome(Path(folder))
    if image is None:
        assert reason.startswith("a.nii.gz: ")
    else:
        assert gzip.decompress(data) == gzip.decompress(whole)
        np.testing.assert_array_equal(image.numpy()[0], values())


def _read_all(folder: Path, limits: Limits = Limits(max_voxels=10**6, max_unpacked_bytes=10**7)):  # noqa: B008
    """Every case of a folder; RefusedError for the first that is unfit."""
    found = find_cases(folder, limits=limits)
    if found.refused:
        raise RefusedError(found.refused[0][1])
    return [read_case(case, limits) for case in found.cases]


def _outcome(folder: Path):
    """The first image of a folder and "", or None and the reason of the refusal."""
    try:
        return _read_all(folder)[0], ""
    except RefusedError as error:
        return None, str(error)


def _edited(draw, seeds: list[bytes]) -> bytes:
    """A seed with bytes changed, cut out, doubled or put in."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        what = draw(st.sampled_from(["change", "change", "change", "cut", "insert", "double"]))
        if what == "change" and data:
            data[at] = draw(st.integers(0, 255))
        elif what == "cut":
            del data[at : at + draw(st.integers(1, 200))]
        elif what == "insert":
            data[at:at] = draw(st.binary(max_size=60))
        else:
            data[at:at] = data[at : at + 100]
    return bytes(data)


@pytest.fixture(scope="module")
def dicom_seeds(series_files):
    """Files of many kinds."""
    seeds = [series_files[2]]
    grid = Grid(columns=34, rows=34, slices=2)
    for syntax in (
        "1.2.840.10008.1.2.5",
        "1.2.840.10008.1.2.4.90",
        "1.2.840.10008.1.2.4.80",
        "1.2.840.10008.1.2.1.99",
    ):
        with tempfile.TemporaryDirectory() as folder:
            dataset = enhanced(grid)
            if syntax.endswith(".99"):
                dataset.file_meta.TransferSyntaxUID = syntax
            else:
                dataset.compress(syntax, generate_instance_uid=False)
            write(Path(folder), dataset)
            seeds.append((Path(folder) / "000.dcm").read_bytes())
    return seeds


FUZZ = settings(max_examples=1500, deadline=10_000, suppress_health_check=list(HealthCheck))


def _survives(folder: Path) -> None:
    image, reason = _outcome(folder)
    if image is not None:
        assert image.numel() <= 10**6
        assert np.isfinite(np.asarray(image.affine)).all()
    assert len(reason) < 1500
    assert "Quill" not in reason


@pytest.mark.slow
@FUZZ
@given(data=st.data())
def test_fuzz_dicom(dicom_seeds, data):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "x.dcm").write_bytes(_edited(data.draw, dicom_seeds))
        _survives(Path(folder))


@pytest.mark.slow
@FUZZ
@given(data=st.data(), packed=st.booleans())
def test_fuzz_nifti(data, packed):
    with tempfile.TemporaryDirectory() as folder:
        seed = save(Path(folder) / "seed.nii").read_bytes()
        (Path(folder) / "seed.nii").unlink()
        content = _edited(data.draw, [seed])
        (Path(folder) / ("x.nii.gz" if packed else "x.nii")).write_bytes(
            gzip.compress(content) if packed else content
        )
        _survives(Path(folder))


@pytest.mark.slow
@FUZZ
@given(data=st.data())
def test_fuzz_gzip(data):
    with tempfile.TemporaryDirectory() as folder:
        seed = save(Path(folder) / "seed.nii.gz").read_bytes()
        (Path(folder) / "seed.nii.gz").unlink()
        (Path(folder) / "x.nii.gz").write_bytes(_edited(data.draw, [seed]))
        _survives(Path(folder))


@pytest.mark.slow
@FUZZ
@given(
    content=st.binary(max_size=4000),
    name=st.sampled_from(["x.dcm", "x", "x.nii", "x.nii.gz", "x.png", "x.tif"]),
)
def test_fuzz_random_bytes(content, name):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).write_bytes(content)
        _survives(Path(folder))


def test_the_phantom_can_tell():
    """A shift by half a voxel, a flip and a transposed plane are all seen by assert_right."""
    with tempfile.TemporaryDirectory() as folder:
        image = only(write(Path(folder), classic(Grid(columns=8, rows=8))))
    assert_right(image)
    shifted = image.clone()
    shifted.affine[0, 3] += 0.6
    for wrong in (shifted, image.flip(1), image.transpose(1, 2), image.flip(3), image + 1):
        with pytest.raises(AssertionError, match="values are off"):
            assert_right(wrong)
    assert linear(np.zeros(3)) == 40
