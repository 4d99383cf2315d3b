"""Print the 20 slowest tests of several runs as one list, from the JUnit files that pytest wrote."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

SHOWN = 20


def slowest(files: list[Path], count: int = SHOWN) -> list[tuple[float, str]]:
    """Return seconds and name of the slowest tests of all files, the slowest first."""
    found = [
        (float(case.get("time", 0)), f"{case.get('classname')}::{case.get('name')}")
        for file in files
        for case in ElementTree.parse(file).iter("testcase")
    ]
    return sorted(found, reverse=True)[:count]


def main() -> None:
    files = [Path(argument) for argument in sys.argv[1:]]
    print(f"the {SHOWN} slowest tests, with the fixtures that each was the first to need:")
    for seconds, name in slowest(files):
        print(f"{seconds:8.1f} s  {name}")


if __name__ == "__main__":
    main()
