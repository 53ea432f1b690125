"""The report holds what it must, stays small, and works in a real browser by keyboard, offline."""

import html
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from mcanet.scripts.results import Manifest, ResultsWriter, write_report
from mcanet.scripts.study import Case
from monai.data import MetaTensor

from .phantom import blobs, table

EVIL = "<script>alert('x')</script>\"'&"


def _cohort(out: Path, count: int, shape: tuple[int, int, int] = (48, 56, 40), noise: float = 60) -> None:
    random = np.random.default_rng(5)
    provenance = {"model_sha256": "c" * 64, "device": "cpu"}
    with Manifest(out, provenance) as manifest:
        writer = ResultsWriter(out, table(), provenance=provenance, manifest=manifest)
        for number in range(count):
            labels = np.roll(blobs(shape, (1, 2, 3) if number % 3 else (1,)), number % 4, axis=0)
            values = random.normal(300, noise, shape).astype(np.float32) + 200 * labels
            image = MetaTensor(
                torch.from_numpy(values)[None], affine=torch.diag(torch.tensor([1.0, 1, 1, 1]))
            )
            case = Case(f"case_{number}", "nifti", f"{EVIL}/{number}.nii.gz", (out / "x",), out)
            files = writer.write(case, image, labels[None], seconds=1)
            manifest.record(case, "done", outputs=files, seconds=1, input_sha256="a" * 64, warnings=[EVIL])
        manifest.record(
            Case("bad", "nifti", "bad.nii.gz", (), out), "refused", reason=f"affine is singular {EVIL}"
        )
        manifest.record(Case("worse", "picture", "worse.png", (), out), "failed", reason="out of memory")


def test_content_is_escaped_and_self_contained(tmp_path: Path) -> None:
    _cohort(tmp_path, 3)
    page = write_report(tmp_path).read_text()
    assert EVIL not in page
    assert html.escape(EVIL, quote=False)[:20] in page
    assert re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?:https?:)?//""", page) == []
    assert "default-src 'none'" in page
    for text in (
        "case_0",
        "refused",
        "affine is singular",
        "out of memory",
        "left kidney",
        "1 refused",
        "c" * 64,
    ):
        assert text in page
    assert page.count("<svg") == 3
    assert str(tmp_path) not in page


def test_an_empty_folder_and_lost_slices(tmp_path: Path) -> None:
    assert "0 cases" in write_report(tmp_path).read_text()
    _cohort(tmp_path, 1)
    (tmp_path / "case_0" / ".slices.json").unlink()
    assert "No slices are kept" in write_report(tmp_path).read_text()


def test_twenty_small_cases_stay_under_five_megabytes(tmp_path: Path) -> None:
    _cohort(tmp_path, 20)
    assert write_report(tmp_path).stat().st_size < 5e6


@pytest.mark.slow
@pytest.mark.parametrize("noise", [10.0, 400.0])
def test_a_large_case_stays_under_three_megabytes(tmp_path: Path, noise: float) -> None:
    _cohort(tmp_path, 1, (512, 512, 200), noise)
    assert write_report(tmp_path).stat().st_size < 3e6


SCRIPT = """
<script>
const wait = ms => new Promise(done => setTimeout(done, ms));
const press = (key, target) => (target || document.body).dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
(async () => {
  const result = {};
  try {
    const viewer = document.querySelector("details.viewer");
    const canvas = viewer.querySelector("canvas"), slider = viewer.querySelector("input[type=range]");
    const output = viewer.querySelector("output"), button = viewer.querySelector("button");
    const sum = () => { const d = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
      let colour = 0, grey = 0;
      for (let i = 0; i < d.length; i += 4) { colour += Math.abs(d[i] - d[i + 1]) > 24; grey += d[i + 1]; }
      return {colour, grey}; };
    for (let n = 0; n < 100 && !sum().grey; n++) await wait(50);
    result.shown = {...sum(), text: output.textContent, pressed: button.getAttribute("aria-pressed")};
    press("m");
    result.hidden = {...sum(), text: output.textContent, pressed: button.getAttribute("aria-pressed")};
    press("M", slider);
    result.again = {...sum(), text: output.textContent};
    slider.value = 0; slider.dispatchEvent(new Event("input", {bubbles: true}));
    result.first = {...sum(), text: output.textContent, spoken: slider.getAttribute("aria-valuetext"),
                    label: canvas.getAttribute("aria-label")};
    document.getElementById("shortcut").checked = false;
    press("m");
    result.off = output.textContent;
    button.click();
    result.clicked = output.textContent;
    const others = [...document.querySelectorAll("details.viewer")].slice(1);
    result.closed = others.every(d => !d.open);
    location.hash = "#" + others[0].id;
    const summary = others[0].querySelector("summary");
    for (let n = 0; n < 200 && document.activeElement !== summary; n++) await wait(25);
    result.opened = others[0].open && document.activeElement === summary;
    result.unnamed = [...document.querySelectorAll("button, input, summary, a")].filter(e =>
      !(e.textContent.trim() || e.getAttribute("aria-label") || (e.labels && e.labels.length)) || e.tabIndex < 0).length;
    result.headings = [...document.querySelectorAll("h1, h2, h3")].map(e => Number(e.tagName[1]));
    result.background = getComputedStyle(document.body).backgroundColor;
    result.alerts = document.querySelectorAll("td script, th script").length;
    result.wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  } catch (error) { result.error = String(error); }
  document.body.innerHTML = "";
  const text = JSON.stringify(result);
  document.body.append(Object.assign(document.createElement("pre"), {id: "result", textContent: text}));
})();
</script>
"""


def _browse(page: Path, *options: str) -> tuple[dict[str, object], str]:
    """Run ``SCRIPT`` in the page with real Chromium; its result and what the console said."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if not program:
        pytest.skip("chromium is absent")
    with tempfile.TemporaryDirectory() as profile:
        command = [
            program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--disable-dev-shm-usage", f"--user-data-dir={profile}", "--virtual-time-budget=20000",
            "--enable-logging=stderr", *options, "--dump-dom", page.as_uri(),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'<pre id="result">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    return json.loads(html.unescape(found[1])), "\n".join(
        line for line in done.stderr.splitlines() if "CONSOLE" in line and "readback" not in line
    )


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
def test_in_a_real_browser(tmp_path: Path, dark: bool) -> None:
    _cohort(tmp_path, 4)
    report = write_report(tmp_path)
    page = tmp_path / "page.html"
    page.write_text(report.read_text().replace("</body>", SCRIPT + "</body>"))
    options = ["--blink-settings=preferredColorScheme=0"] if dark else []
    result, console = _browse(page, *options, "--window-size=1200,900")
    assert "error" not in result, result
    assert console == ""
    shown, hidden, again, first = (result[key] for key in ("shown", "hidden", "again", "first"))
    assert shown["colour"] > 1000  # type: ignore[index]
    assert hidden["colour"] == 0  # type: ignore[index]
    assert again == {key: shown[key] for key in again}  # type: ignore[index,union-attr]
    assert (shown["pressed"], hidden["pressed"]) == ("true", "false")  # type: ignore[index]
    assert re.fullmatch(r"Slice \d+ of 40, mask shown", shown["text"])  # type: ignore[index]
    assert hidden["text"].endswith("mask hidden")  # type: ignore[index]
    assert first["text"] == "Slice 1 of 40, mask shown"  # type: ignore[index]
    assert first["spoken"] == "slice 1 of 40"  # type: ignore[index]
    assert first["label"].endswith("left R, right L, top A, bottom P")  # type: ignore[index]
    assert first["grey"] != shown["grey"]  # type: ignore[index]
    assert result["off"] == "Slice 1 of 40, mask shown"
    assert result["clicked"] == "Slice 1 of 40, mask hidden"
    assert result["closed"] is True
    assert result["opened"] is True
    assert result["unnamed"] == 0
    assert result["headings"] == [1, 2, 2, 2, 3, 3, 3, 3]
    assert (result["background"] == "rgb(255, 255, 255)") != dark
    assert result["alerts"] == 0
    assert result["wide"] <= 0


@pytest.mark.slow
def test_on_a_narrow_screen(tmp_path: Path) -> None:
    _cohort(tmp_path, 2)
    page = tmp_path / "page.html"
    page.write_text(write_report(tmp_path).read_text().replace("</body>", SCRIPT + "</body>"))
    result, console = _browse(page, "--window-size=500,900")
    assert console == ""
    assert result.get("wide", 1) <= 0, result
