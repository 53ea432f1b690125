"""Print the volumes that a run measured, and where its pictures are."""

import argparse
import csv
from pathlib import Path


def main() -> None:
    """Read ``measurements.csv`` and ``manifest.csv`` of a result folder."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("output_dir", type=Path)
    output_dir = arguments.parse_args().output_dir
    inputs = {row["case_id"]: row["input"] for row in rows(output_dir / "manifest.csv")}
    volumes: dict[str, dict[str, float]] = {}
    for row in rows(output_dir / "measurements.csv"):
        volumes.setdefault(row["case_id"], {})[row["name"]] = float(row["volume_ml"])
    for case_id, parts in volumes.items():
        listed = ", ".join(f"{name} {volume:.2f} ml" for name, volume in parts.items())
        print(f"{inputs[case_id]:8} {sum(parts.values()):.2f} ml ({listed})")
        print(f"{'':8} picture: {output_dir / case_id / 'preview.png'}")
    print(f"report: {output_dir / 'report.html'}")


def rows(file: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with file.open(newline="", encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


if __name__ == "__main__":
    main()
