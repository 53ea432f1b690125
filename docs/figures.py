"""Make the figures of the docs: the training curve from TensorBoard's log, the demo's results, and OHIF."""

import argparse
import base64
import io
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import requests
from matplotlib.figure import Figure
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
sys.path.insert(0, str(ROOT))  # for what the demo and the tests have: a study, and servers
WAIT = 120  # seconds for whatever a page shall show
Send = Callable[..., Any]  # one command to a browser, and its answer


def main() -> None:
    """Draw what is asked for."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument(
        "--log_dir", type=Path, nargs="+", help="TensorBoard folders of a training's stages"
    )
    arguments.add_argument("--demo_dir", type=Path, help="result folder of make demo")
    arguments.add_argument(
        "--label",
        action="store_true",
        help="OHIF on MONAI Label and Orthanc, started for it with the demo's study",
    )
    given = arguments.parse_args()
    IMAGES.mkdir(exist_ok=True)
    if given.log_dir:
        training_curve(given.log_dir).savefig(IMAGES / "hippocampus_training.png", dpi=110)
    if given.demo_dir:
        side_by_side(sorted(given.demo_dir.glob("*/preview.png"))).save(IMAGES / "demo.png", optimize=True)
        screenshot(given.demo_dir / "report.html", IMAGES / "report.png")
    if given.label:
        label_screenshot(IMAGES / "label.png")


def training_curve(log_dirs: list[Path]) -> Figure:
    """Loss of every step, and its running mean, above the validation's Dice; stage after stage."""
    curves: dict[str, tuple[list[int], list[float]]] = {}
    for log_dir in log_dirs:
        ends = {tag: max(steps) for tag, (steps, _) in curves.items()}
        for file in sorted(log_dir.glob("events.out.tfevents.*")):
            log = EventAccumulator(str(file), size_guidance={"scalars": 0}).Reload()
            for tag in log.Tags()["scalars"]:
                steps, values = curves.setdefault(tag, ([], []))
                steps += [ends.get(tag, 0) + event.step for event in log.Scalars(tag)]
                values += [event.value for event in log.Scalars(tag)]
    figure = Figure(figsize=(7, 5), layout="constrained")
    above, below = figure.subplots(2)
    steps, loss = curves["train_loss"]
    window = 50
    above.plot(steps, loss, color="0.8", linewidth=0.5)
    above.plot(steps[window - 1 :], np.convolve(loss, np.ones(window) / window, "valid"), color="tab:blue")
    above.set(xlabel="step", ylabel="Dice + cross-entropy loss", ylim=(0, None))
    below.plot(*curves["val_mean_dice"], marker="o", color="tab:orange")
    below.set(xlabel="epoch", ylabel="mean Dice, validation")
    for axes in (above, below):
        axes.grid(alpha=0.3)
    return figure


def side_by_side(files: list[Path]) -> Image.Image:
    """Previews beside each other."""
    pictures = [Image.open(file).convert("RGB") for file in files]
    joined = Image.new("RGB", (sum(p.width for p in pictures), max(p.height for p in pictures)))
    left = 0
    for picture in pictures:
        joined.paste(picture, (left, 0))
        left += picture.width
    return joined


def screenshot(page: Path, picture: Path) -> None:
    """The top of a page as Chromium shows it.

    Raises:
        SystemExit: Chromium is not installed, or shows nothing.
    """
    with tempfile.TemporaryDirectory() as profile:
        words = [chromium(), "--headless", "--no-sandbox", "--hide-scrollbars", f"--user-data-dir={profile}"]
        words += ["--window-size=1250,1300", "--virtual-time-budget=5000", f"--screenshot={picture}"]
        done = subprocess.run([*words, page.absolute().as_uri()], capture_output=True, text=True)
    if done.returncode or not picture.is_file():
        raise SystemExit(f"Chromium made no picture:\n{done.stderr[-1000:]}")
    Image.open(picture).quantize(128).save(picture, optimize=True)


def chromium() -> str:
    """The path of Chromium.

    Raises:
        SystemExit: it is not installed.
    """
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise SystemExit("a screenshot needs Chromium: apt-get install chromium")
    return program


def label_screenshot(picture: Path) -> None:
    """OHIF with a mask that our MONAI Label app made of the demo's study.

    Raises:
        SystemExit: a server or the browser is not installed, or OHIF shows no mask.
    """
    with browser() as send, label_address() as label:
        segment(send, label)
        shown = send("goog/cdp/execute", cmd="Page.captureScreenshot", params={})["data"]
    # with all its colours: a palette leaves spots in the see-through mask
    Image.open(io.BytesIO(base64.b64decode(shown))).save(picture, optimize=True)


@contextmanager
def label_address() -> Iterator[str]:
    """MONAI Label, set up as by `make label`, on an Orthanc with the demo's study; both are stopped at the end.

    Raises:
        SystemExit: one of the two is not installed.
    """
    import pytest

    from tests.label.server import label_server
    from tests.servers import orthanc, upload

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for words in (["demo/make_study.py", folder / "study"], ["label/prepare.py", folder]):
            subprocess.run([sys.executable, *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        settings = {
            "MONAI_LABEL_DICOMWEB_CACHE_PATH": str(folder / "cache"),
            "MONAI_LABEL_DICOMWEB_SEARCH_FILTER": '{"Modality":"MR"}',
        }
        try:
            with orthanc(folder / "storage") as pacs:
                upload(pacs, folder / "study")
                with label_server(folder / "app", f"{pacs}/dicom-web", **settings) as client:
                    yield client.url
        except pytest.skip.Exception as missing:
            raise SystemExit(f"the picture of MONAI Label {missing}") from None


def segment(send: Send, label: str) -> None:
    """Open the demo's study in OHIF, connect its panel with MONAI Label and run the task, as a person does.

    Args:
        send: gives the browser a command.
        label: address of the MONAI Label server, which serves OHIF too.

    Raises:
        SystemExit: OHIF does not show what is to be clicked, or the mask.
    """
    from demo.make_study import uid

    run = "//button[@title='Run Segmentation']"
    address = "//input[@id='monailabelServerURL']"
    send("url", url=f"{label}/ohif/monai-label?StudyInstanceUIDs={uid('study')}")
    wait_for_message(send, "displaySetsToAllImages")
    click(send, "//*[text()='Confirm and Hide']")
    all_of_it = "\ue009a\ue000"  # Ctrl+A, since the panel crashes on an empty address
    send(f"element/{find(send, address)}/value", text=f"{all_of_it}{label}/")
    click(send, f"{address}/ancestor::table[1]//button")
    click(send, f"{run}/ancestor::table[1]//option[@value='hippocampus']")
    click(send, run)
    wait_for_message(send, "updated the segmentation's scalar data")
    time.sleep(6)  # until it is drawn and the notice about it has gone, of which the page tells nothing


@contextmanager
def browser() -> Iterator[Send]:
    """A Chromium without a window but with WebGL; yields what gives it a command of WebDriver.

    Raises:
        SystemExit: Chromium or its driver is not installed.
    """
    driver = shutil.which("chromedriver")
    if driver is None:
        raise SystemExit("a screenshot of OHIF needs ChromeDriver: apt-get install chromium-driver")
    words = ["--headless=new", "--no-sandbox", "--enable-unsafe-swiftshader", "--window-size=1400,773"]
    wanted = {
        "goog:chromeOptions": {"binary": chromium(), "args": words},
        "goog:loggingPrefs": {"browser": "ALL"},
        "timeouts": {"implicit": 1000 * WAIT},
    }
    process = subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        found = (re.search(r"successfully on port (\d+)", line) for line in process.stdout)
        url = f"http://127.0.0.1:{next(filter(None, found))[1]}/session"
        url += "/" + command(url, capabilities={"alwaysMatch": wanted})["sessionId"]
        try:
            yield lambda path, /, **words: command(f"{url}/{path}", **words)
        finally:
            requests.delete(url, timeout=WAIT)
    finally:
        process.terminate()
        process.wait()


def command(url: str, /, **words: Any) -> Any:
    """Give a command to ChromeDriver.

    Raises:
        SystemExit: it fails, and why.
    """
    answer = requests.post(url, json=words, timeout=2 * WAIT).json()["value"]
    if isinstance(answer, dict) and "error" in answer:
        raise SystemExit(f"Chromium: {answer['message']}")
    return answer


def find(send: Send, xpath: str) -> str:
    """The id of an element of the page, waiting until it is there."""
    return str(next(iter(send("element", using="xpath", value=xpath).values())))


def click(send: Send, xpath: str) -> None:
    """Click on an element of the page, once it is there."""
    send(f"element/{find(send, xpath)}/click")


def wait_for_message(send: Send, text: str) -> None:
    """Return once the page has written a message to its console.

    Raises:
        SystemExit: it is silent for too long.
    """
    until = time.monotonic() + WAIT
    while time.monotonic() < until:
        if any(text in entry["message"] for entry in send("se/log", type="browser")):
            return
        time.sleep(0.5)
    raise SystemExit(f"OHIF did not come to the message {text!r} within {WAIT} seconds")


if __name__ == "__main__":
    main()
