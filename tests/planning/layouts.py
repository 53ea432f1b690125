"""Small labelled data sets in every layout: bright shapes in noise."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from .. import nifti


def disc(size: int, seed: int) -> np.ndarray:
    """A filled disc anywhere, as a boolean picture."""
    random = np.random.default_rng(seed)
    x, y = np.indices((size, size))
    cx, cy = random.uniform(0.35 * size, 0.65 * size, 2)
    return (x - cx) ** 2 + (y - cy) ** 2 < (0.2 * size) ** 2


def pictures(
    folder: Path, count: int = 6, size: int = 72, high: int = 255, names: tuple[str, str] = ("images", "masks"),
    suffix: str = "", grey: bool = False,
) -> Path:  # fmt: skip
    """Pictures and masks of equal stems, the masks' with ``suffix``; the disc is red, or bright."""
    for i in range(count):
        random, shape = np.random.default_rng(i), disc(size, i)
        picture = random.normal(90, 12, (size, size, 3))
        picture[shape] += (90, 0, 0) if not grey else 90
        picture = picture.clip(0, 255).astype(np.uint8)
        save_picture(picture[..., 0] if grey else picture, folder / names[0] / f"case{i}.png")
        save_picture(shape.astype(np.uint8) * high, folder / names[1] / f"case{i}{suffix}.png")
    return folder


def save_picture(array: np.ndarray, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(file)


def volume(
    seed: int, shape: tuple[int, int, int] = (40, 36, 8), gain: float = 200
) -> tuple[np.ndarray, np.ndarray]:
    """Image and label, in slices a disc (1) with a square inside (2)."""
    random = np.random.default_rng(seed)
    label = np.zeros(shape, np.uint8)
    label[disc(40, seed)[: shape[0], : shape[1]]] = 1
    x, y = (int(centre) for centre in np.argwhere(label[..., 0]).mean(0))
    label[x - 3 : x + 3, y - 3 : y + 3] = 2
    label[..., 0] = 0
    return random.normal(300, 20, shape) + gain * label.astype(float), label


def save(array: np.ndarray, file: Path, spacing: tuple[float, float, float] = (1.0, 1.0, 5.0)) -> None:
    nifti.save(array, file, np.diag([*spacing, 1.0]))


def decathlon(folder: Path, count: int = 5, offset: float = 0.0, modality: str = "MRI") -> Path:
    """Anisotropic volumes of two labels."""
    pairs = []
    for i in range(count):
        image, label = volume(i)
        save((image + offset).astype(np.int16), folder / "imagesTr" / f"heart_{i}.nii.gz")
        save(label, folder / "labelsTr" / f"heart_{i}.nii.gz")
        pairs.append({"image": f"./imagesTr/heart_{i}.nii.gz", "label": f"./labelsTr/heart_{i}.nii.gz"})
    labels = {"0": "background", "1": "wall", "2": "cavity"}
    content = {"training": pairs, "labels": labels, "modality": {"0": modality}}
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


def decathlon_of_channels(folder: Path, count: int = 3) -> Path:
    """Volumes of two channels in one file of four dimensions."""
    decathlon(folder, count)
    for i in range(count):
        channels = [volume(i)[0], volume(i, gain=-60)[0]]
        save(np.stack(channels, -1).astype(np.int16), folder / "imagesTr" / f"heart_{i}.nii.gz")
    describe(folder, modality={"0": "T2", "1": "ADC"})
    return folder


def describe(folder: Path, **changed: object) -> None:
    """Change what a data set's description says."""
    file = folder / "dataset.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))


def nnunet(folder: Path, count: int = 3) -> Path:
    """Volumes of two channels in files of their own; the labels' values are 1 and 4."""
    for i in range(count):
        image, label = volume(i, shape=(32, 32, 24))
        other = volume(i, shape=(32, 32, 24), gain=-60)[0]
        for channel, array in enumerate((image, other)):
            file = folder / "imagesTr" / f"brain_{i}_{channel:04}.nii.gz"
            save(array.astype(np.float32), file, (1.0, 1.0, 1.0))
        values = np.array([0, 1, 4], np.uint8)[label]
        save(values, folder / "labelsTr" / f"brain_{i}.nii.gz", (1.0, 1.0, 1.0))
    content = {
        "channel_names": {"0": "T1", "1": "T2"},
        "labels": {"background": 0, "oedema": 1, "tumour": 4},
        "numTraining": count,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


def nnunet_pictures(folder: Path, count: int = 5) -> Path:
    """nnU-Net's layout of colour pictures."""
    pictures(folder, count, high=1, names=("imagesTr", "labelsTr"))
    for file in sorted((folder / "imagesTr").iterdir()):
        file.rename(file.with_name(f"{file.stem}_0000.png"))
    content = {
        "channel_names": {"0": "R", "1": "G", "2": "B"},
        "labels": {"background": 0, "disc": 1},
        "file_ending": ".png",
    }
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder
