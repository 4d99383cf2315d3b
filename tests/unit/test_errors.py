"""The error tree: drawn as it is, and every error crosses a process boundary with all it carries."""

from __future__ import annotations

import ast
import importlib
import inspect
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import aiopt.errors
from aiopt.errors import AioptError, DataError, ManifestError, StorageError, did_you_mean

ROOT = Path(__file__).resolve().parents[2]
_LINE = re.compile(
    r"^    (?P<lead>[│├└─ ]*)(?P<name>\w+) *(?:exit (?P<code>\d) +)?(?:\[(?P<module>[\w.]+)\])?"
)


class Drawn(msgspec.Struct, frozen=True):
    """One line of the drawing."""

    name: str
    module: str
    parent: str | None
    exit_code: int | None


def drawn() -> list[Drawn]:
    """Read both trees of the docstring."""
    found: list[Drawn] = []
    above: list[str] = []
    for line in (aiopt.errors.__doc__ or "").splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        depth = len(match["lead"]) // 4
        above[depth:] = [match["name"]]
        parent = above[depth - 1] if depth else None
        module = match["module"] or ("builtins" if match["name"] == "Exception" else "aiopt.errors")
        found.append(Drawn(match["name"], module, parent, int(match["code"]) if match["code"] else None))
    return found


def classes_of(tree: ast.Module) -> Iterator[tuple[str, list[str]]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield node.name, [ast.unparse(base).rpartition(".")[2] for base in node.bases]


def defined() -> dict[tuple[str, str], str]:
    """Return module and name of every exception class of the product, and the name of its base."""
    bases: dict[tuple[str, str], list[str]] = {}
    for top in ("aiopt", "cluster", "jobs"):
        for path in sorted((ROOT / top).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            for name, above in classes_of(ast.parse(path.read_text(encoding="utf-8"))):
                bases[module, name] = above
    found: dict[tuple[str, str], str] = {}
    errors = {"BaseException", "Exception", "OSError", "RuntimeError", "ValueError", "TypeError", "KeyError"}
    while True:
        more = {
            key: next(base for base in above if base in errors)
            for key, above in bases.items()
            if key not in found and errors.intersection(above)
        }
        if not more:
            return found
        found |= more
        errors |= {name for _, name in more}


def errors() -> list[type[AioptError]]:
    """Import every class that is drawn below `AioptError`."""
    found = [
        getattr(importlib.import_module(line.module), line.name)
        for line in drawn()
        if line.name != "Exception" and line.parent != "Exception"
    ]
    assert all(issubclass(cls, AioptError) for cls in found)
    return found


def sample(cls: type[AioptError]) -> AioptError:
    """Make an error of a class with a value for whatever it can carry."""
    values = {
        "str": "what, and what to do",
        "str | None": "a/field",
        "int": 418,
        "int | None": 7,
        "float": 2.5,
        "bool": True,
        "Path | str | None": "ticks.csv",
        "Mapping[str, str] | None": {"Retry-After": "3"},
    }
    if cls.__init__ is Exception.__init__:
        return cls(values["str"])
    given: list[Any] = []
    named: dict[str, Any] = {}
    for parameter in inspect.signature(cls).parameters.values():
        value = values[str(parameter.annotation)]
        if parameter.kind is parameter.KEYWORD_ONLY:
            named[parameter.name] = value
        else:
            given.append(value)
    return cls(*given, **named)


def test_the_drawn_tree_is_the_real_one() -> None:
    lines = {(line.module, line.name): line.parent for line in drawn() if line.parent is not None}
    real = {key: base for key, base in defined().items() if key != ("aiopt.errors", "AioptError")}
    assert lines == real, "draw the tree of aiopt/errors.py anew"


def test_the_drawn_exit_codes_are_the_real_ones() -> None:
    codes: dict[str | None, int | None] = {None: None}
    for line in drawn():
        codes[line.name] = line.exit_code if line.exit_code is not None else codes[line.parent]
    assert {cls.__name__: cls.exit_code for cls in errors()} == {
        cls.__name__: codes[cls.__name__] for cls in errors()
    }
    assert (DataError("x").exit_code, AioptError("x").exit_code, StorageError("x").exit_code) == (2, 1, 1)


@pytest.mark.parametrize("cls", errors(), ids=lambda cls: cls.__name__)
def test_every_error_pickles_with_all_it_carries(cls: type[AioptError]) -> None:
    error = sample(cls)
    error.add_note("on the way")
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.args, vars(copy)) == (cls, str(error), error.args, vars(error))
    assert vars(copy)["__notes__"] == ["on the way"]
    again = pickle.loads(pickle.dumps(copy))
    assert (str(again), vars(again)) == (str(error), vars(error))


def test_no_subclass_is_missing_from_the_walk() -> None:
    seen: set[type[AioptError]] = set()
    waiting: list[type[AioptError]] = [AioptError]
    errors()  # imports them
    while waiting:
        cls = waiting.pop()
        # Ray joins an error with one of its own at run time; those are not ours.
        if cls.__module__.split(".")[0] in {"aiopt", "cluster", "jobs"}:
            seen.add(cls)
        waiting += cls.__subclasses__()
    assert {cls.__name__ for cls in seen} <= {line.name for line in drawn()}


def test_a_data_error_names_file_and_row_and_survives_pickling() -> None:
    error = ManifestError("`bid > 0` must hold, but got bid=-1.0.", file="ticks.csv", row=7)
    assert str(error) == "ticks.csv, row 7: `bid > 0` must hold, but got bid=-1.0."
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.file, copy.row) == (ManifestError, str(error), Path("ticks.csv"), 7)


def test_did_you_mean() -> None:
    assert did_you_mean("bolinger", ["bollinger", "rsi"]) == " Did you mean 'bollinger'?"
    assert did_you_mean("zzz", ["b", "a"]) == " Known: a, b."
    many = [f"Zone/{number}" for number in range(600)]
    assert did_you_mean("zzz", many) == ""
    assert did_you_mean("zone/17", many) == " Did you mean 'Zone/17'?"
