"""Pine parser: 200 lines cold and warm, a corpus, a file of 5 MB refused; beside pynescript's parser.

CPU time of this process throughout; neighbours on the same core lengthen that too, so the fastest of the warm
rounds is given beside their median.  *Cold* is the first parse of a fresh
interpreter after its imports.  pynescript is measured on the same text, its first parse and one after it.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from aiopt.pine.parsing.parser import parse_script
from benchmarks._harness import ROOT, Figure, median

CORPUS = ROOT / "tests" / "unit" / "pine" / "corpus" / "valid"
LINES = 200
ROUNDS = 100
COLD_STARTS = 5

_COLD = """
import sys, time
from aiopt.pine.parsing.parser import parse_script
text = sys.stdin.read()
begun = time.process_time()
errors = parse_script(text).errors
spent = time.process_time() - begun
assert not errors
print(spent)
"""
_PYNESCRIPT = """
import sys, time
from pynescript import ast
text = sys.stdin.read()
begun = time.process_time()
ast.parse(text)
first = time.process_time()
ast.parse(text)
print(first - begun, time.process_time() - first)
"""


def run() -> list[Figure]:
    text = script_of(LINES)
    cold = median([_measured(_COLD, text)[0] for _ in range(COLD_STARTS)])
    rounds = [_cpu_s(lambda: parse_script(text)) for _ in range(ROUNDS)]
    warm = median(rounds)
    corpus = [path.read_bytes().decode() for path in _paths()]
    lines = sum(one.count("\n") for one in corpus)
    whole = median([_cpu_s(lambda: [parse_script(one) for one in corpus]) for _ in range(5)])
    large = "x = close + 1\n" * 360_000
    refused = median([_cpu_s(lambda: parse_script(large)) for _ in range(5)])
    print("pynescript: its first parse builds its tables, 10 to 40 s …", file=sys.stderr)
    their_cold, their_warm = _measured(_PYNESCRIPT, text)
    return [
        Figure(name="cold_200_lines_ms", value=cold * 1e3, unit="ms", target=20),
        Figure(name="warm_200_lines_ms", value=warm * 1e3, unit="ms", target=5),
        Figure(name="warm_200_lines_fastest_ms", value=min(rounds) * 1e3, unit="ms", target=5),
        Figure(name="lines_per_second_warm", value=lines / whole, unit="lines/s"),
        Figure(name="refuse_5_mb_s", value=refused, unit="s", target=1),
        Figure(name="pynescript_cold_200_lines_ms", value=their_cold * 1e3, unit="ms"),
        Figure(name="pynescript_warm_200_lines_ms", value=their_warm * 1e3, unit="ms"),
        Figure(name="speedup_over_pynescript_warm", value=their_warm / warm, unit="x"),
    ]


def script_of(lines: int) -> str:
    """Return a strategy of this many lines: the bodies of several of the corpus, one after the other.

    Names are declared more than once, which no parser minds.
    """
    taken = ["//@version=6"]
    for path in _paths():
        if path.name.startswith("str_") and path.name.endswith("_v6.pine"):
            taken += path.read_bytes().decode().rstrip().split("\n")[1:]
        if len(taken) >= lines:
            break
    while taken[lines].startswith((" ", "else")):
        lines -= 1
    return "\n".join(taken[:lines]) + "\n"


def _paths() -> list[Path]:
    return sorted(CORPUS.glob("*.pine"))


def _cpu_s(call: Callable[[], object]) -> float:
    begun = time.process_time()
    call()
    return time.process_time() - begun


def _measured(program: str, text: str) -> list[float]:
    """Return the seconds that a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", program], input=text, capture_output=True, text=True, check=True, cwd=ROOT
    )
    return [float(word) for word in done.stdout.split()]
