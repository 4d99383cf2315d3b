"""Print the coverage of packages and fail where it is below the floor.   usage: coverage_floor.py REPORT.JSON

The floors of packages and files, and the files that may be lower with the reason, stand in pyproject.toml
under `[tool.coverage-floor]`.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Lines:
    """Lines of a file or package: how many can run, how many did."""

    total: int
    run: int

    @property
    def percent(self) -> float:
        return 100.0 * self.run / self.total if self.total else 100.0


def files_of(report: dict[str, Any]) -> dict[str, Lines]:
    """Return path below the repository → lines, of coverage's JSON report."""
    found = {}
    for path, entry in report["files"].items():
        summary = entry["summary"]
        name = Path(path)
        if name.is_absolute():
            if not name.is_relative_to(ROOT):
                continue  # a copy of the tree that a test made
            name = name.relative_to(ROOT)
        found[name.as_posix()] = Lines(summary["num_statements"], summary["covered_lines"])
    return found


def packages_of(files: dict[str, Lines]) -> dict[str, Lines]:
    """Return the sums of `aiopt`, `cluster` and the packages right below them."""
    total: Counter[str] = Counter()
    run: Counter[str] = Counter()
    for path, lines in files.items():
        parts = PurePosixPath(path).parts
        for package in {parts[0], "/".join(parts[: min(2, len(parts) - 1)])}:
            total[package] += lines.total
            run[package] += lines.run
    return {package: Lines(total[package], run[package]) for package in sorted(total)}


def broken_floors(files: dict[str, Lines], rules: dict[str, Any]) -> list[str]:
    """Return what is below its floor, and what is listed as lower without being so, as sentences."""
    must = "must have {} % of its lines run by tests, but has {:.1f} %."
    packages = packages_of(files)
    broken = []
    for package, floor in rules["packages"].items():
        percent = packages[package].percent if package in packages else 0.0
        if percent < floor:
            broken.append(f"{package} {must.format(floor, percent)}")
    reasons = rules["lower"]
    for path, lines in files.items():
        held = PurePosixPath(path).parts[0] in rules["packages"]
        if held and lines.percent < rules["file"] and path not in reasons:
            broken.append(
                f"{path} {must.format(rules['file'], lines.percent)} "
                "Test it, or list it with the reason in pyproject.toml, tool.coverage-floor.lower."
            )
    for path in reasons:
        if path not in files:
            broken.append(f"{path} is listed as lower in pyproject.toml but does not exist. Delete its line.")
        elif files[path].percent >= rules["file"]:
            percent = f"{files[path].percent:.1f} %"
            broken.append(f"{path} is listed as lower in pyproject.toml but has {percent}. Delete its line.")
    return broken


def main() -> int:
    files = files_of(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["coverage-floor"]
    print("lines run by tests:")
    for package, lines in packages_of(files).items():
        print(f"{lines.percent:7.1f} %  {lines.run:6d} of {lines.total:6d}  {package}")
    print("the ten files with the least:")
    for path, lines in sorted(files.items(), key=lambda item: item[1].percent)[:10]:
        print(f"{lines.percent:7.1f} %  {lines.run:6d} of {lines.total:6d}  {path}")
    broken = broken_floors(files, rules)
    for sentence in broken:
        print(f"error: {sentence}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
