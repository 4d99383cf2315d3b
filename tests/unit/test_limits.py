"""No file over 500 lines, no function over 60 lines or 7 parameters, but for a reason beside it or here.

A reason beside a function is a comment `# reason: …` in its signature or right above it.  The tables may only
shrink: whoever mends an entry deletes its line.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOPS = ("aiopt", "cluster", "jobs", "benchmarks", "tests")

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60
MAX_PARAMETERS = 7

_KERNEL = "a compiled loop: it takes arrays and numbers one by one, and calls inside it cost time"

_PYTEST = "a test of pytest or hypothesis takes what it draws, one parameter each"
_FACE = "keyword arguments, as the user of a notebook writes them"
_MEND = "to be mended: split it by idea, then delete this line"

LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS: dict[str, str] = {
    "aiopt/serving/pictures/jpeg_scan.py::read_scan": _KERNEL,
    "benchmarks/swap.py::_measure": "one measurement from start to end, read from top to bottom",
    "tests/unit/bars/reducing/test_event_reducer.py::reference": "an oracle of every kind of bar",
}
MANY_PARAMETERS: dict[str, str] = {
    "aiopt/bars/reducing/event_kernels.py::cut_renko": _KERNEL,
    "aiopt/bars/reducing/time_kernels.py::cut_by_time": _KERNEL,
    "aiopt/face/bars.py::build_bars": _FACE,
    "aiopt/face/pine.py::emit_pine": _FACE,
    "aiopt/face/sweep.py::sweep": _FACE,
    "aiopt/serving/pictures/jpeg_scan.py::read_scan": _KERNEL,
    "tests/unit/dataset/test_splits.py::test_no_label_interval_overlaps_another_split": _PYTEST,
    "tests/unit/serving/made_pictures.py::png_of": "one parameter per field of the format's header",
    "tests/unit/ticks/download/faulty_server.py::__call__": "one parameter per fault of the server",
}


@dataclass(frozen=True)
class Function:
    """One function: where it is and what is counted."""

    path: str
    name: str
    lines: int
    parameters: int
    excused: bool
    command: bool

    @property
    def key(self) -> str:
        return f"{self.path}::{self.name}"


def sources() -> Iterator[tuple[str, str]]:
    for top in TOPS:
        for path in sorted((ROOT / top).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def functions(path: str, text: str) -> Iterator[Function]:
    """Yield the functions of a module; lines without the docstring, parameters without `self` and `cls`."""
    rows = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        first = node.body[0]
        documented = ast.get_docstring(node, clean=False) is not None
        docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
        names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        above = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]) - 2
        signature = rows[max(above, 0) : first.lineno]
        decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
        yield Function(
            path,
            node.name,
            (node.end_lineno or node.lineno) - node.lineno + 1 - docstring,
            len([name for name in names if name not in {"self", "cls"}]),
            any("# reason: " in row for row in signature),
            # A command of click has one parameter per flag: click says so.
            any("command(" in text or "option(" in text for text in decorators),
        )


FILES = dict(sources())
FUNCTIONS = [function for path, text in FILES.items() for function in functions(path, text)]


def test_no_file_is_long() -> None:
    long = {path: text.count("\n") for path, text in FILES.items() if text.count("\n") > MAX_FILE_LINES}
    assert {path: lines for path, lines in long.items() if path not in LONG_FILES} == {}
    assert set(LONG_FILES) <= set(long), "a file of the table is short enough by now: delete its line"


def test_no_function_is_long() -> None:
    long = {f.key: f.lines for f in FUNCTIONS if f.lines > MAX_FUNCTION_LINES and not f.excused}
    assert {key: lines for key, lines in long.items() if key not in LONG_FUNCTIONS} == {}
    assert set(LONG_FUNCTIONS) <= set(long), "a function of the table is short enough by now: delete its line"


def test_no_function_has_many_parameters() -> None:
    many = {
        f.key: f.parameters
        for f in FUNCTIONS
        if f.parameters > MAX_PARAMETERS and not f.excused and not f.command
    }
    assert {key: count for key, count in many.items() if key not in MANY_PARAMETERS} == {}
    assert set(MANY_PARAMETERS) <= set(many), "a function of the table has fewer by now: delete its line"


def test_every_entry_says_why() -> None:
    for table in (LONG_FILES, LONG_FUNCTIONS, MANY_PARAMETERS):
        assert all(len(reason) > 20 for reason in table.values())


@pytest.mark.parametrize(
    ("text", "lines", "parameters", "excused", "command"),
    [
        ('def f(a, *, b):\n    """One\n\n    two."""\n    return a\n', 2, 2, False, False),
        ("class A:\n    def f(self, a):\n        return a\n", 2, 1, False, False),
        ("# reason: a table\ndef f(a):\n    return a\n", 2, 1, True, False),
        ("def f(a):  # reason: a table\n    return a\n", 2, 1, True, False),
        ("def f(a):\n    # reason: not in the signature\n    return a\n", 3, 1, True, False),
        ("def f(a):\n    b = a\n    return b  # reason: too late\n", 3, 1, False, False),
        ("@click.command('x')\n@click.option('--a')\ndef f(a):\n    return a\n", 2, 1, False, True),
    ],
)
def test_what_is_counted(text: str, lines: int, parameters: int, excused: bool, command: bool) -> None:
    (found,) = functions("a.py", text)
    assert (found.lines, found.parameters, found.excused, found.command) == (
        lines,
        parameters,
        excused,
        command,
    )
