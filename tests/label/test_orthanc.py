"""MONAI Label on a real DICOMweb server: query, retrieve, infer, store as SEG, read back, train."""

import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import highdicom
import nibabel
import numpy as np
import pytest
import requests

from ..conftest import ROOT
from ..end_to_end.run import command
from ..servers import orthanc
from . import made
from .server import Client, label_server

pytestmark = pytest.mark.label
NAMES = ("anterior hippocampus", "posterior hippocampus")
MR = '{"Modality":"MR"}'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Orthanc with the demo's study: one series of each hippocampus."""
    folder = tmp_path_factory.mktemp("orthanc")
    command(sys.executable, ROOT / "demo" / "make_study.py", "study", cwd=folder)
    with orthanc(folder / "storage") as url:
        for file in sorted((folder / "study").rglob("*.dcm")):
            requests.post(f"{url}/instances", data=file.read_bytes(), timeout=60).raise_for_status()
        yield url


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.app_of_two_tasks(tmp_path_factory.mktemp("label"))


@pytest.fixture(scope="module")
def client(app: Path, server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    cache = str(tmp_path_factory.mktemp("cache"))
    with label_server(app, f"{server}/dicom-web", MONAI_LABEL_DICOMWEB_CACHE_PATH=cache,
                      MONAI_LABEL_DICOMWEB_SEARCH_FILTER=MR) as client:  # fmt: skip
        yield client


def stored_segs(server: str) -> dict[str, highdicom.seg.Segmentation]:
    """Every SEG on the server by the series that it is of."""
    found = {}
    query = {"Level": "Series", "Query": {"Modality": "SEG"}, "Expand": True}
    for series in requests.post(f"{server}/tools/find", json=query, timeout=60).json():
        file = requests.get(f"{server}/instances/{series['Instances'][0]}/file", timeout=60).content
        seg = highdicom.seg.segread(BytesIO(file))
        found[str(seg.ReferencedSeriesSequence[0].SeriesInstanceUID)] = seg
    return found


def voxels_by_name(seg: highdicom.seg.Segmentation) -> dict[str, int]:
    counts = {}
    for number in seg.segment_numbers:
        frames = (
            seg.get_volume(segment_numbers=[number]).array if number_is_held(seg, number) else np.zeros(1)
        )
        counts[seg.get_segment_description(number).segment_label] = int((frames > 0).sum())
    return counts


def number_is_held(seg: highdicom.seg.Segmentation, number: int) -> bool:
    frames = seg.PerFrameFunctionalGroupsSequence
    return number in {int(f.SegmentIdentificationSequence[0].ReferencedSegmentNumber) for f in frames}


def answered_mask(client: Client, series: str, folder: Path) -> nibabel.Nifti1Image:
    """The mask of an inference on a series."""
    content = client.infer("hippocampus", series, "image", device="cpu").content
    (folder / "mask.nii.gz").write_bytes(content)
    return nibabel.load(folder / "mask.nii.gz")


def save(mask: np.ndarray, like: nibabel.Nifti1Image, path: Path) -> Path:
    nibabel.save(nibabel.Nifti1Image(mask.astype(np.uint8), like.affine), path)
    return path


def test_a_session_stores_the_right_names_with_a_label_absent(
    client: Client, server: str, tmp_path: Path
) -> None:
    one = client.call("POST", "activelearning/first", json={}).json()["id"]
    image = client.call("GET", "datastore/image", params={"image": one}).content
    (tmp_path / "image.nii.gz").write_bytes(image)
    assert nibabel.load(tmp_path / "image.nii.gz").shape == (36, 50, 36)
    mask = answered_mask(client, one, tmp_path)
    labels = np.asarray(mask.dataobj)
    counts = {name: int((labels == value).sum()) for value, name in enumerate(NAMES, 1)}
    assert min(counts.values()) > 500

    answer = client.infer("hippocampus", one, "dicom_seg", label_info=[{"name": "wrong"}]).content
    assert voxels_by_name(highdicom.seg.segread(BytesIO(answer))) == counts

    only_two = {NAMES[0]: 0, NAMES[1]: counts[NAMES[1]]}
    client.save_label(one, save(2 * (labels == 2), mask, tmp_path / "two.nii.gz"), *NAMES)
    assert voxels_by_name(stored_segs(server)[one]) == only_two
    for series in requests.post(f"{server}/tools/find", json={"Level": "Series", "Query": {"Modality": "SEG"}},
                                timeout=60).json():  # fmt: skip
        requests.delete(f"{server}/series/{series}", timeout=60).raise_for_status()
    client.save_label(one, save(labels == 2, mask, tmp_path / "first.nii.gz"), NAMES[1])
    assert voxels_by_name(stored_segs(server)[one]) == only_two


def test_a_series_is_read_as_the_server_holds_it(client: Client, server: str, tmp_path: Path) -> None:
    one = client.call("POST", "activelearning/first", json={}).json()["id"]
    assert sorted(answered_mask(client, one, tmp_path).shape) == [36, 36, 50]
    query = {"Level": "Instance", "Query": {"SeriesInstanceUID": one}, "Expand": True}
    slices = requests.post(f"{server}/tools/find", json=query, timeout=60).json()
    last = max(slices, key=lambda found: int(found["MainDicomTags"]["InstanceNumber"]))["ID"]
    file = requests.get(f"{server}/instances/{last}/file", timeout=60).content
    requests.delete(f"{server}/instances/{last}", timeout=60).raise_for_status()
    assert sorted(answered_mask(client, one, tmp_path).shape) == [35, 36, 50]
    requests.post(f"{server}/instances", data=file, timeout=60).raise_for_status()
    assert sorted(answered_mask(client, one, tmp_path).shape) == [36, 36, 50]
    assert "no image '1.2.3'" in client.infer("hippocampus", "1.2.3", "image", expect=404).json()["detail"]


def test_a_mask_of_another_place_or_name_is_refused(client: Client, server: str, tmp_path: Path) -> None:
    one = client.call("POST", "activelearning/first", json={}).json()["id"]
    mask = answered_mask(client, one, tmp_path)
    before = len(stored_segs(server))
    moved = mask.affine.copy()
    moved[0, 3] += 2
    nibabel.save(nibabel.Nifti1Image(np.asarray(mask.dataobj), moved), tmp_path / "moved.nii.gz")
    assert "apart" in client.save_label(one, tmp_path / "moved.nii.gz", *NAMES, expect=500).json()["detail"]
    answer = client.save_label(one, tmp_path / "mask.nii.gz", "liver", "spleen", expect=500)
    assert "liver" in answer.json()["detail"]
    assert len(stored_segs(server)) == before


def test_training_from_segs_that_another_server_stored(
    client: Client, server: str, app: Path, tmp_path: Path
) -> None:
    masks = {}
    for series in client.call("GET", "datastore/", params={"output": "all"}).json()["objects"]:
        mask = answered_mask(client, series, tmp_path)
        masks[series] = np.asarray(mask.dataobj) * (np.asarray(mask.dataobj) == 2)
        client.save_label(series, save(masks[series], mask, tmp_path / "label.nii.gz"), *NAMES)
    with label_server(app, f"{server}/dicom-web", MONAI_LABEL_DICOMWEB_CACHE_PATH=str(tmp_path / "cache"),
                      MONAI_LABEL_DICOMWEB_SEARCH_FILTER=MR) as other:  # fmt: skip
        pairs = other.call("GET", "datastore/", params={"output": "train"}).json()
        assert {Path(pair["image"]).name.removesuffix(".nii.gz") for pair in pairs} >= masks.keys()
        for pair in pairs:
            label = nibabel.load(pair["label"])
            assert np.array_equal(
                np.asarray(label.dataobj), masks[Path(pair["image"]).name.removesuffix(".nii.gz")]
            )
            np.testing.assert_allclose(label.affine, nibabel.load(pair["image"]).affine, atol=1e-4)
        newer = np.ones(mask.shape)
        client.save_label(series, save(newer, mask, tmp_path / "newer.nii.gz"), *NAMES)
        pairs = other.call("GET", "datastore/", params={"output": "train"}).json()
        assert len(pairs) == len(masks)
        label = nibabel.load(next(pair["label"] for pair in pairs if series in pair["label"]))
        assert np.array_equal(np.asarray(label.dataobj), newer)
        before = other.call("GET", "model/info/hippocampus").json()["checksum"]
        task = other.run("train/hippocampus", max_epochs=1, val_split=0)
        assert task["status"] == "DONE", task["details"]
        assert other.call("GET", "model/info/hippocampus").json()["checksum"] != before
        other.infer("hippocampus", next(iter(masks)), "json")
