"""Whether a bundle's files are those that were released: its configs, code and weights, by SHA-256."""

from pathlib import Path

from .hashing import file_digest

LIST = "sha256sums.txt"
LISTED = ("configs", "models", "scripts")  # what is run, or decides what is run
SUFFIXES = {".py", ".json", ".conf", ".pt", ".html", ".md", ".txt", ".yaml", ".yml", ".pyc", ".pyd", ".so"}


def write_list(bundle: Path) -> None:
    """Write the list of a bundle, which ``sha256sum --check`` reads as well.

    Args:
        bundle: its folder.
    """
    lines = [f"{file_digest(bundle / name)}  {name}\n" for name in _names(bundle)]
    (bundle / LIST).write_text("".join(lines), encoding="utf-8", newline="\n")


def is_released(bundle: Path, name: str, file: str | Path) -> bool:
    """Whether a file has the content that a bundle's list gives a name."""
    return (bundle / LIST).is_file() and file_digest(file) == _listed(bundle).get(name)


def verify(bundle: Path) -> int:
    """Compare the files of a bundle with its list.

    Args:
        bundle: its folder.

    Returns:
        How many files were compared.

    Raises:
        SystemExit: there is no list, or a file differs, is missing or is not listed; it names them all.
    """
    try:
        expected = _listed(bundle)
    except (OSError, UnicodeDecodeError) as error:
        raise SystemExit(
            f"cannot verify {str(bundle)!r}: no readable {LIST} in it ({type(error).__name__}); "
            "expected a bundle's folder, the one that holds configs"
        ) from None
    wrong = [f"{name}: listed, but not there" for name in expected if not (bundle / name).is_file()]
    found = set(_names(bundle))
    wrong += [f"{name}: there, but not listed" for name in sorted(found - set(expected))]
    for name, digest in expected.items():
        if (bundle / name).is_file() and file_digest(bundle / name) != digest:
            wrong.append(f"{name}: its content is not the listed one")
    if wrong:
        raise SystemExit(
            "\n".join(
                [
                    f"{str(bundle)!r} is not as it was released:",
                    *wrong,
                    "fetch it again, or find out who changed it",
                ]
            )
        )
    return len(expected)


def _listed(bundle: Path) -> dict[str, str]:
    """The digests of a bundle's list by name."""
    lines = (bundle / LIST).read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _names(bundle: Path) -> list[str]:
    """The files that a list holds, with POSIX separators."""
    files = [bundle / "__init__.py", *(file for folder in LISTED for file in (bundle / folder).rglob("*"))]
    return sorted(
        file.relative_to(bundle).as_posix()
        for file in files
        if file.is_file() and file.suffix.lower() in SUFFIXES and "__pycache__" not in file.parts
    )
