"""MONAI Label on a folder of volumes and on one of pictures: every call of 3D Slicer and OHIF."""

import re
import shutil
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from mcanet.scripts.networks import MCANet
from PIL import Image

from ..end_to_end.run import mcanet
from . import made
from .server import Client, label_server

pytestmark = pytest.mark.label

HIPPOCAMPUS = {"anterior hippocampus": 1, "posterior hippocampus": 2}
SCORING = ("epistemic_model", "hippocampus", "epistemic_simulation_size", "2")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.app_of_two_tasks(tmp_path_factory.mktemp("label"))


@pytest.fixture(scope="module")
def volumes(app: Path) -> Iterator[Client]:
    with label_server(app, made.volumes(app.parent / "volumes", 3), *SCORING) as client:
        yield client


@pytest.fixture(scope="module")
def pictures(app: Path) -> Iterator[Client]:
    scoring = ("epistemic_model", "discs", "epistemic_simulation_size", "2")
    with label_server(app, made.pictures(app.parent / "pictures", 3), *scoring) as client:
        yield client


def nifti(content: bytes, folder: Path) -> nibabel.Nifti1Image:
    path = folder / "answer.nii.gz"
    path.write_bytes(content)
    return nibabel.load(path)


def answered(client: Client, case: str, folder: Path) -> nibabel.Nifti1Image:
    """The mask of an inference."""
    return nifti(client.infer("hippocampus", case, "image", device="cpu").content, folder)


def png(content: bytes) -> np.ndarray:
    with Image.open(BytesIO(content)) as image:
        assert image.format == "PNG"
        return np.asarray(image)


def test_both_tasks_stand_side_by_side(volumes: Client) -> None:
    info = volumes.info()
    assert info["models"]["hippocampus"]["labels"] == HIPPOCAMPUS
    assert info["models"]["discs"]["labels"] == {"Red disc": 1, "Green disc": 2, "Blue disc": 3}
    assert [info["models"][name]["dimension"] for name in ("hippocampus", "discs")] == [3, 2]
    assert info["trainers"].keys() == {"hippocampus", "discs"}
    assert info["models"]["hippocampus"]["config"]["model_filename"] == ["model.pt"]


def test_a_volume_by_every_output(volumes: Client, tmp_path: Path) -> None:
    answer = volumes.infer("hippocampus", "case_0", "json").json()
    assert answer["label_names"] == HIPPOCAMPUS
    nrrd = volumes.infer("hippocampus", "case_0", "image").content
    assert nrrd.startswith(b"NRRD")
    assert b"\ntype: unsigned char\n" in nrrd
    both = volumes.infer("hippocampus", "case_0", "all")
    assert both.headers["content-type"].startswith("multipart/form-data")
    assert b"label_names" in both.content
    mask, image = answered(volumes, "case_0", tmp_path), made.volume(0)
    assert mask.get_data_dtype() == np.uint8
    assert mask.shape == image.shape
    np.testing.assert_allclose(mask.affine, image.affine, atol=1e-5)
    assert min(np.bincount(np.asarray(mask.dataobj).ravel())) > 500


def test_an_uploaded_volume_with_turned_axes_equals_the_bundles_own_run(
    volumes: Client, tmp_path: Path
) -> None:
    turned = made.volume(3).as_reoriented(np.array([[1, -1], [2, 1], [0, 1]]))
    nibabel.save(turned, tmp_path / "turned.nii.gz")
    file = volumes.infer("hippocampus", "", "image", tmp_path / "turned.nii.gz", device="cpu").content
    mask = nifti(file, tmp_path)
    np.testing.assert_allclose(mask.affine, turned.affine, atol=1e-5)
    # Label runs the network itself, in float32 on a CPU that has bfloat16, too
    mcanet("segment", tmp_path / "turned.nii.gz", "out", "--mixed_precision", "false", cwd=tmp_path)
    own = nibabel.load(tmp_path / "out" / "turned" / "segmentation.nii.gz")
    assert np.array_equal(np.asarray(mask.dataobj), np.asarray(own.dataobj))
    assert np.asarray(own.dataobj).max() == 2


def test_an_unfit_image_is_answered_by_the_reason(volumes: Client, tmp_path: Path) -> None:
    Image.fromarray(made.discs(0)[0]).save(tmp_path / "photo.png")
    answer = volumes.infer("hippocampus", "", "image", tmp_path / "photo.png", expect=500)
    assert "the task expects 3" in answer.json()["detail"]


def test_only_images_of_the_studies_have_ids(volumes: Client, app: Path, tmp_path: Path) -> None:
    made.volumes(app.parent / "case_1", 1)  # in the server's working directory
    mask = answered(volumes, "case_1", tmp_path)
    np.testing.assert_allclose(mask.affine, made.volume(1).affine, atol=1e-5)
    for unknown in ("nowhere", "volumes"):
        answer = volumes.infer("hippocampus", unknown, "image", expect=404)
        assert f"no image '{unknown}'" in answer.json()["detail"]
    answer = volumes.save_label("nowhere", tmp_path / "answer.nii.gz", *HIPPOCAMPUS, expect=404)
    assert "no image 'nowhere'" in answer.json()["detail"]
    volumes.call("HEAD", "datastore/image", 404, params={"image": "nowhere"})


def test_masks_have_eight_bits_in_a_format_that_holds_them(
    volumes: Client, app: Path, tmp_path: Path
) -> None:
    asked = {"result_extension": ".nii.gz", "result_dtype": "float32"}
    mask = nifti(volumes.infer("hippocampus", "case_0", "image", **asked).content, tmp_path)
    assert mask.get_data_dtype() == np.uint8
    for wrong in (".png", "nii.gz", ".foo"):
        answer = volumes.infer("hippocampus", "case_0", "image", expect=500, result_extension=wrong)
        assert f"'{wrong}'" in answer.json()["detail"]
        assert ".nrrd" in answer.json()["detail"]
    folder = made.volumes(tmp_path / "series.1", 1)
    of_folder = nifti(volumes.infer("hippocampus", str(folder), "image", device="cpu").content, tmp_path)
    assert np.array_equal(np.asarray(of_folder.dataobj), np.asarray(mask.dataobj))


def test_names_lead_to_no_other_folder(volumes: Client, app: Path, tmp_path: Path) -> None:
    answered(volumes, "case_0", tmp_path)
    files = {"file": ("up.nii.gz", (tmp_path / "answer.nii.gz").read_bytes())}
    before = sorted(app.parent.rglob("*.nii.gz"))
    answer = volumes.call("PUT", "datastore/", 500, params={"image": "../up"}, files=files)
    assert "another name" in answer.json()["detail"]
    for tag in ("../../evil", ".."):
        answer = volumes.save_label("case_0", tmp_path / "answer.nii.gz", *HIPPOCAMPUS, tag=tag, expect=500)
        assert "another name" in answer.json()["detail"]
    assert sorted(app.parent.rglob("*.nii.gz")) == before


def test_labels_of_a_model_are_of_its_table(volumes: Client, tmp_path: Path) -> None:
    answered(volumes, "case_0", tmp_path)
    mask = nibabel.load(tmp_path / "answer.nii.gz")
    values = np.array([0, 1, 3], np.uint8)[np.asarray(mask.dataobj)]
    nibabel.save(nibabel.Nifti1Image(values, mask.affine), tmp_path / "three.nii.gz")
    for model, reason in (("hippocampus", "[3]"), ("unknown", "spleen")):
        answer = volumes.save_label("case_0", tmp_path / "three.nii.gz", "spleen", model=model, expect=500)
        assert reason in answer.json()["detail"]


def test_active_learning_and_the_epistemic_score(volumes: Client) -> None:
    assert volumes.call("POST", "activelearning/first", json={}).json()["id"] == "case_0"
    assert volumes.run("scoring/hippocampus")["status"] == "DONE"
    scored = volumes.call("GET", "datastore/", params={"output": "all"}).json()["objects"]
    entropies = [item["image"]["info"]["epistemic_entropy"] for item in scored.values()]
    assert len(entropies) == 3
    assert all(0 < entropy < np.log(3) for entropy in entropies)
    assert volumes.call("POST", "activelearning/epistemic", json={}).json()["id"] in scored


def test_batch_inference_stores_every_mask(volumes: Client) -> None:
    task = volumes.run("batch/infer/hippocampus", multi_gpu=False, max_workers=1, device="cpu")
    assert task["status"] == "DONE", task["details"]
    for case in ("case_0", "case_1", "case_2"):
        volumes.call("HEAD", "datastore/label", params={"image": case, "tag": "original"})
        kept = volumes.call("GET", "datastore/label", params={"label": case, "tag": "original"})
        assert len(kept.content) > 100


def test_labels_are_kept_by_name_and_foreign_names_refused(volumes: Client, tmp_path: Path) -> None:
    mask = answered(volumes, "case_0", tmp_path)
    posterior = (np.asarray(mask.dataobj) == 2).astype(
        np.uint8
    )  # 3D Slicer counts the segments that are there
    nibabel.save(nibabel.Nifti1Image(posterior, mask.affine), tmp_path / "one.nii.gz")
    answer = volumes.save_label("case_0", tmp_path / "one.nii.gz", "spleen", expect=500)
    assert "spleen" in answer.json()["detail"]
    volumes.save_label("case_0", tmp_path / "one.nii.gz", "posterior hippocampus")
    kept = volumes.call("GET", "datastore/label", params={"label": "case_0", "tag": "final"}).content
    assert np.array_equal(np.asarray(nifti(kept, tmp_path).dataobj), 2 * posterior)


def test_training_from_saved_labels_gives_other_weights(volumes: Client, app: Path, tmp_path: Path) -> None:
    for seed in range(2):
        answered(volumes, f"case_{seed}", tmp_path)
        volumes.save_label(f"case_{seed}", tmp_path / "answer.nii.gz", *HIPPOCAMPUS)
    before = volumes.call("GET", "model/info/hippocampus").json()["checksum"]
    first = volumes.infer("hippocampus", "case_2", "image", device="cpu").content
    shutil.copy(tmp_path / "answer.nii.gz", app.parent / "volumes/labels/final/case_2.nii.gz")
    task = volumes.run("train/discs", max_epochs=1)
    assert any("no image is labelled for 'discs'" in line and "by hand" in line for line in task["details"])
    task = volumes.run("train/hippocampus", max_epochs=2, val_split=0.5, run_id="")
    assert task["status"] == "DONE", task["details"]
    assert "case_2 is left out: it is of no task" in (app / "logs" / "app.log").read_text()
    after = volumes.call("GET", "model/info/hippocampus").json()["checksum"]
    second = volumes.infer("hippocampus", "case_2", "image", device="cpu").content
    assert after != before
    assert second != first
    weights = app / "model/hippocampus/models/model.pt"
    assert 0 < made.apart(weights) < 0.01  # it went on from the shipped weights
    task = volumes.run("train/hippocampus", max_epochs=1, val_split=0, pretrained=False)
    assert task["status"] == "DONE", task["details"]
    assert volumes.call("GET", "model/info/hippocampus").json()["checksum"] != after


def test_wrong_weights_are_answered_by_an_error(volumes: Client, tmp_path: Path) -> None:
    right = volumes.call("GET", "model/hippocampus").content
    wrong = {
        "shape": MCANet(in_channels=3, out_channels=5).state_dict(),
        "names": {f"x.{name}": value for name, value in MCANet(3, 3).state_dict().items()},
    }
    for kind, weights in wrong.items():
        torch.save(weights, tmp_path / f"{kind}.pt")
        files = {"file": ("model.pt", (tmp_path / f"{kind}.pt").read_bytes())}
        volumes.call("PUT", "model/hippocampus", files=files)
        answer = volumes.infer("hippocampus", "case_0", "image", expect=500)
        assert "Error(s) in loading state_dict" in answer.json()["detail"]
    task = volumes.run("train/hippocampus", max_epochs=1, val_split=0)
    assert task["status"] == "ERROR"
    assert any("cannot start from the weights" in line for line in task["details"])
    volumes.call("PUT", "model/hippocampus", files={"file": ("model.pt", right)})
    volumes.infer("hippocampus", "case_0", "json")


def test_labels_by_hand_are_of_the_only_task(app: Path, tmp_path: Path) -> None:
    alone, studies = tmp_path / "app", made.volumes(tmp_path / "studies", 3)
    shutil.copytree(app, alone, ignore=shutil.ignore_patterns("discs"))
    final = studies / "labels" / "final"
    final.mkdir(parents=True)
    for seed, value in enumerate((1, 2, 7)):
        image = made.volume(seed)
        labels = value * (np.asarray(image.dataobj) > np.median(image.dataobj)).astype(np.uint8)
        nibabel.save(nibabel.Nifti1Image(labels, image.affine), final / f"case_{seed}.nii.gz")
    shutil.copy(studies / "case_0.nii.gz", studies / "twin.nii.gz")
    Image.fromarray(made.discs(0)[0]).save(studies / "twin.png")
    with label_server(alone, studies) as client:
        task = client.run("train/hippocampus", max_epochs=1, val_split=0)
    assert task["status"] == "DONE", task["details"]
    log = (alone / "logs" / "app.log").read_text()
    assert re.findall(r"final label of (\w+) is left out.*(\[7\])", log) == [("case_2", "[7]")]
    assert "of ['twin.nii.gz', 'twin.png'] only one is served" in log


def test_pictures_come_back_as_lossless_masks_of_their_size(pictures: Client, tmp_path: Path) -> None:
    picture, _ = made.discs(5)
    Image.fromarray(picture).save(tmp_path / "upload.jpg")
    for image, file in (("case_0", None), ("case_1", None), ("", tmp_path / "upload.jpg")):
        mask = png(pictures.infer("discs", image, "image", file, device="cpu").content)
        assert mask.shape == picture.shape[:2]
        assert mask.dtype == np.uint8
        assert set(np.unique(mask)) <= {0, 1, 2, 3}
    names = pictures.infer("discs", "case_1", "json").json()["label_names"]
    assert names.items() <= {"Red disc": 1, "Green disc": 2, "Blue disc": 3}.items()


def test_pictures_are_labelled_scored_and_trained_on(pictures: Client, tmp_path: Path) -> None:
    for seed in range(2):
        _, labels = made.discs(seed)
        places = np.array([0, 1, 0, 2], np.uint8)[labels]
        Image.fromarray(places).save(tmp_path / "label.png")
        nibabel.save(
            nibabel.Nifti1Image(places.T[..., None], np.diag([-1, -1, 1, 1])), tmp_path / "label.nii.gz"
        )
        file = tmp_path / (
            "label.nii.gz" if seed else "label.png"
        )  # 3D Slicer saves pictures' labels as NIfTI
        pictures.save_label(f"case_{seed}", file, "Red disc", "Blue disc")
        kept = pictures.call(
            "GET", "datastore/label", params={"label": f"case_{seed}", "tag": "final"}
        ).content
        assert np.array_equal(png(kept), labels)
    assert pictures.run("scoring/discs")["status"] == "DONE"
    before = png(pictures.infer("discs", "case_2", "image", device="cpu").content)
    task = pictures.run("train/discs", max_epochs=30, val_split=0, device="cpu")
    assert task["status"] == "DONE", task["details"]
    after = png(pictures.infer("discs", "case_2", "image", device="cpu").content)
    truth = made.discs(2)[1]
    assert (after == truth).mean() > max(0.9, (before == truth).mean())
