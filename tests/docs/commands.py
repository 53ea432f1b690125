"""The commands that the pages show."""

import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ..conftest import ROOT

PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("bundle/docs/*.md"),
        *ROOT.glob("deploy/**/*.md"),
    ]
)
_NAMES = ("mcanet", "monai.bundle")
_BLOCK = re.compile(r"^```(?:sh|bash|shell|console)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SHELL = {  # what a line begins with, if it is to be typed
    "mcanet", ".venv/bin/mcanet", "python", "pip", "make", "torchrun", "srun", "sbatch", "kubectl", "flock", "source", "for",
    "docker", "podman", "snakemake", "tensorboard", "mlflow", "npx", "sha256sum", "cd", "git", "bash",
}  # fmt: skip


@dataclass(frozen=True)
class Command:
    """One command of a page: the words of ``mcanet`` or of ``python -m monai.bundle``, from that name on."""

    page: str
    words: tuple[str, ...]


def commands(page: Path) -> list[Command]:
    """All of a page's fenced blocks, those that are neither ``mcanet`` nor ``monai.bundle`` left out."""
    found = []
    for block in _BLOCK.findall(page.read_text(encoding="utf-8")):
        for line in re.sub(r"\\\n", " ", block).splitlines():
            for part in re.split(r" & | && |; do |; done", line):
                try:
                    words = shlex.split(re.sub(r"(^|\s)#.*", "", part))
                except ValueError:  # not of a shell
                    continue
                if "→" in words:  # a picture of the tree
                    continue
                at = next((i for i, word in enumerate(words) if Path(word).name in _NAMES), None)
                if at is not None and words[-1] != "…":
                    name = Path(words[at]).name
                    found.append(Command(page.relative_to(ROOT).as_posix(), (name, *words[at + 1 :])))
    return found


def typed(page: Path) -> list[str]:
    """What a reader types of a page, in its order: a line, or the lines of a loop, that a shell takes."""
    found = []
    for block in _BLOCK.findall(page.read_text(encoding="utf-8")):
        part = ""
        for line in block.splitlines():
            if not part and not _is_typed(line):
                continue
            part += line + "\n"
            if (
                not part.endswith("\\\n")
                and not subprocess.run(["bash", "-nc", part], capture_output=True).returncode
            ):
                found.append(part)
                part = ""
        assert not part, f"{page}: no whole command: {part}"
    return found


def _is_typed(line: str) -> bool:
    words = [word for word in line.split() if not re.fullmatch(r"[A-Z_]+=\S*", word)]
    return bool(words) and words[0] in _SHELL and "→" not in words
