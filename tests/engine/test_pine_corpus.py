"""Our valid scripts run in an independent Pine engine; where it cannot run one, the reason is its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiopt.testing.bars import random_walk_bars

pytestmark = pytest.mark.slow

CORPUS = Path(__file__).parents[1] / "unit" / "pine" / "corpus" / "valid"
N_BARS = 120

# What PineTS 0.9.34 lacks, by script without its version, with a part of what it says.
LACKS = {
    "imp_library": ("imports", "KEYWORD 'import'"),
    "imp_strategy": ("imports", "KEYWORD 'import'"),
    "lib_arrays": ("exports", "KEYWORD 'export'"),
    "lib_const": ("exports", "KEYWORD 'export'"),
    "lib_enum": ("exports", "KEYWORD 'export'"),
    "lib_math": ("exports", "KEYWORD 'export'"),
    "lib_types": ("exports", "KEYWORD 'export'"),
    "ind_all_drawings": ("line.all and its like as arrays", "size is not a function"),
    "ind_comments": ("a comment deeper than its block", "INDENT"),
    "ind_currency": ("request.currency_rate", "currency_rate"),
    "ind_economic": ("request.economic and its like", "economic"),
    "ind_loop_functions": ("na() of a variable of a function in a while", "is not a function"),
    "ind_method_chain": ("methods of a method's result", "grow is not a function"),
    "ind_multiline_string": ("strings of several lines", "quoted is not defined"),
    "ind_overloads": ("methods of a built-in type", "twice is not a function"),
    "ind_udt_nested": ("a field of a field that is assigned", "seg is not defined"),
    "ind_varip_field": ("varip fields", "KEYWORD"),
    "odd_bom": ("a byte order mark", "character"),
    "str_enum_mode": ("an enum in the options of its own input", "Mode is not defined"),
    "str_open_trades": ("strategy.opentrades.profit", "opentrades.profit"),
}


def test_the_engine_runs_all_but_what_it_lacks(pine) -> None:
    scripts = {path.stem: path.read_bytes().decode() for path in sorted(CORPUS.glob("*.pine"))}
    answers = pine.run_corpus(scripts, random_walk_bars(N_BARS, seed=3))
    assert answers.keys() == scripts.keys()
    complaints = {name: said for name, said in answers.items() if said is not None}
    unexplained = {
        name: said
        for name, said in complaints.items()
        if name[:-3] not in LACKS or LACKS[name[:-3]][1] not in said
    }
    assert not unexplained
    assert {name[:-3] for name in complaints} == set(LACKS)
    assert len(scripts) - len(complaints) >= 300
