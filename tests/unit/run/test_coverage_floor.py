"""What the scripts of `make test` print and refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.run import coverage_floor
from tests.run.coverage_floor import ROOT, Lines, broken_floors, files_of, packages_of
from tests.run.slowest import slowest

FILES = {
    "aiopt/a.py": Lines(100, 100),
    "aiopt/b/c.py": Lines(100, 80),
    "cluster/d.py": Lines(10, 6),
}


def rules(**lower: str) -> dict[str, Any]:
    return {"packages": {"aiopt": 90, "cluster": 50}, "file": 70, "lower": lower}


def test_lines_are_summed_over_packages() -> None:
    found = packages_of(FILES)
    assert found == {
        "aiopt": Lines(200, 180),
        "aiopt/b": Lines(100, 80),
        "cluster": Lines(10, 6),
    }
    assert found["aiopt"].percent == 90.0
    assert Lines(0, 0).percent == 100.0


def test_a_low_file_is_refused_until_it_is_listed() -> None:
    (sentence,) = broken_floors(FILES, rules())
    assert sentence.startswith("cluster/d.py must have 70 % of its lines run by tests, but has 60.0 %.")
    assert broken_floors(FILES, rules(**{"cluster/d.py": "a reason"})) == []


def test_a_package_without_a_floor_is_printed_and_not_held() -> None:
    assert broken_floors(FILES, {**rules(), "packages": {"aiopt": 90}}) == []


def test_a_low_or_missing_package_is_refused() -> None:
    strict = {**rules(**{"cluster/d.py": "a reason"}), "packages": {"aiopt": 91, "none": 1}}
    assert [sentence.split(" of its")[0] for sentence in broken_floors(FILES, strict)] == [
        "aiopt must have 91 %",
        "none must have 1 %",
    ]


@pytest.mark.parametrize(
    ("path", "words"), [("aiopt/gone.py", "does not exist"), ("aiopt/a.py", "has 100.0 %")]
)
def test_the_list_of_lower_files_only_shrinks(path: str, words: str) -> None:
    listed = rules(**{"cluster/d.py": "a reason", path: "a reason"})
    (sentence,) = broken_floors(FILES, listed)
    assert words in sentence
    assert "Delete its line" in sentence


def test_paths_of_the_report_are_those_below_the_repository() -> None:
    summary = {"num_statements": 4, "covered_lines": 3}
    places = (str(ROOT / "aiopt/a.py"), "aiopt/b.py", "/somewhere/else/aiopt/a.py")
    report = {"files": {place: {"summary": summary} for place in places}}
    assert files_of(report) == {"aiopt/a.py": Lines(4, 3), "aiopt/b.py": Lines(4, 3)}


def test_the_floors_of_the_project_are_those_promised() -> None:
    document = coverage_floor.tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    floors = document["tool"]["coverage-floor"]
    assert floors["packages"] == {"aiopt": 92, "cluster": 72, "cluster/cli": 85}
    assert floors["file"] == 70
    assert all(len(reason) > 20 for reason in floors["lower"].values()), "a lower file needs a reason"


def test_the_slowest_tests_of_all_files_come_first(tmp_path: Path) -> None:
    for name, seconds in (("a", (1.0, 3.0)), ("b", (2.0,))):
        cases = "".join(f'<testcase classname="tests.{name}" name="t{s}" time="{s}"/>' for s in seconds)
        (tmp_path / f"{name}.xml").write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
    found = slowest(sorted(tmp_path.glob("*.xml")), 2)
    assert found == [(3.0, "tests.a::t3.0"), (2.0, "tests.b::t2.0")]
