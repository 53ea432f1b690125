"""What a release must show: wheel and sdist build, install without the repository, and run the demo there.

    python release/check.py STUDY [--pythons python3.10 python3.12 …]

``make release-check`` calls it with the demo's study. It also lists the licence of everything that the default
install brings, asks pip-audit for known vulnerabilities, and writes a bill of materials (CycloneDX).
"""

import argparse
import csv
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ("build", "pip-audit", "cyclonedx-bom")
FORBIDDEN = ("GPL", "AGPL", "NON-COMMERCIAL", "NONCOMMERCIAL")  # LGPL and MPL may be used
# what states none, and was looked up: NVIDIA's own collection of packages, which torch brings on Linux
LOOKED_UP = {"cuda-toolkit": "NVIDIA CUDA Toolkit EULA"}
LICENCES = """
import importlib.metadata as metadata, json
rows = []
for one in metadata.distributions():
    about = one.metadata
    text = about.get("License-Expression") or "; ".join(
        name.split(" :: ")[-1] for name in about.get_all("Classifier", []) if name.startswith("License ::")
    ) or (about.get("License") or "").strip().splitlines()[:1]
    rows.append((about["Name"], one.version, text if isinstance(text, str) else "".join(text)))
print(json.dumps(sorted(rows)))
"""


def run(*words: object, cwd: Path | None = None) -> str:
    """Run a command; its output, or the end of the check with its last words."""
    done = subprocess.run([str(word) for word in words], cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))} failed:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def at_hand(python: str) -> bool:
    """Whether an interpreter is there and starts; a version manager's stand-in may be on the path, and not start."""
    return (
        shutil.which(python) is not None
        and not subprocess.run([python, "-V"], capture_output=True).returncode
    )


def environment(python: str, folder: Path) -> Path:
    """A clean environment; its interpreter."""
    run(python, "-m", "venv", folder)
    return folder / "bin" / "python"


def install(python: Path, package: Path) -> None:
    """The package with what it needs, at the pinned versions."""
    pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*pip, "--constraint", ROOT / "constraints.txt", package)


def demo(python: Path, study: Path, out: Path) -> int:
    """Segment the study far from the repository; how many cases are done.

    Raises:
        SystemExit: a case is not.
    """
    out.mkdir()
    run(python.with_name("mcanet"), "verify", cwd=out)
    run(python.with_name("mcanet"), "segment", study, out / "results", cwd=out)
    with (out / "results" / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or any(row["status"] != "done" for row in rows):
        raise SystemExit(f"{python}: the demo's cases are {[row['status'] for row in rows]}")
    return len(rows)


def licences(python: Path) -> list[tuple[str, str, str]]:
    """Name, version and licence of all that is installed.

    Raises:
        SystemExit: one forbids what we promise, or is not stated.
    """
    rows = [
        (name, version, licence or LOOKED_UP.get(name, ""))
        for name, version, licence in json.loads(run(python, "-c", LICENCES))
    ]
    wrong = []
    for name, _, licence in rows:
        words = licence.upper().replace("LGPL", "").replace("LESSER GENERAL PUBLIC LICENSE", "")
        if not licence or any(word in words for word in (*FORBIDDEN, "GENERAL PUBLIC LICENSE")):
            wrong.append(f"{name}: {licence or 'no licence stated'}")
    if wrong:
        raise SystemExit("licences to be looked at:\n" + "\n".join(wrong))
    return rows


def audit(tools: Path, site: Path) -> None:
    """Ask pip-audit for known vulnerabilities, and say what it could not look up.

    Raises:
        SystemExit: it knows some, or does not answer.
    """
    words = [str(tools.with_name("pip-audit")), "--path", str(site), "--format", "json"]
    done = subprocess.run(words, capture_output=True, text=True)
    try:
        found = json.loads(done.stdout)["dependencies"]
    except ValueError:
        raise SystemExit(f"pip-audit does not answer:\n{done.stderr[-3000:]}") from None
    known = [f"{one['name']}: {flaw['id']}" for one in found for flaw in one.get("vulns", [])]
    if known:
        raise SystemExit("known vulnerabilities:\n" + "\n".join(known))
    unknown = [one["name"] for one in found if "skip_reason" in one]
    print(f"pip-audit: no known vulnerability in {len(found) - len(unknown)} of {len(found)} packages")
    if unknown:
        print(f"NOT AUDITED, since they could not be looked up: {', '.join(unknown)}")


def main() -> None:
    """Check, and print what was run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("--pythons", nargs="+", default=[f"python3.{minor}" for minor in range(10, 14)])
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tools = environment(sys.executable, folder / "tools")
        run(tools, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *TOOLS)
        shutil.rmtree(arguments.out, ignore_errors=True)
        run(tools, "-m", "build", "--outdir", arguments.out, ROOT)
        (wheel,), (sdist,) = arguments.out.glob("*.whl"), arguments.out.glob("*.tar.gz")
        missing = [python for python in arguments.pythons if not at_hand(python)]
        for python in missing:
            print(f"{python}: not at hand, not run")
        if len(missing) == len(arguments.pythons):
            raise SystemExit("no interpreter at hand: give some with PYTHONS")
        for number, python in enumerate(one for one in arguments.pythons if one not in missing):
            for package in (wheel, sdist) if number == 0 else (wheel,):
                clean = environment(python, folder / f"{number}{package.suffix}")
                install(clean, package)
                cases = demo(clean, arguments.study.absolute(), folder / f"demo{number}{package.suffix}")
                print(
                    f"{run(clean, '--version').strip()}, {package.name}: {cases} cases of the demo done",
                    flush=True,
                )
        for row in licences(clean):
            print("  ".join(row))
        bill = arguments.out / "mcanet.cdx.json"
        run(tools.with_name("cyclonedx-py"), "environment", clean, "--of", "JSON", "-o", bill)
        print(f"wrote {bill}")
        audit(tools, next((clean.parents[1] / "lib").glob("python3.*/site-packages")))


if __name__ == "__main__":
    main()
