"""The import table of docs/architecture.md, held by walking every module's imports."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# What a package may import of the project, besides itself.  Every package may use the foundation.
FOUNDATION = {
    "aiopt",
    "aiopt.__version__",
    "aiopt.errors",
    "aiopt.files",
    "aiopt.config",
    "aiopt.timeframe",
    "aiopt.yaml_text",
}
MAY_IMPORT: dict[str, set[str]] = {
    "aiopt.errors": set(),
    "aiopt.files": set(),
    "aiopt.config": set(),
    "aiopt.timeframe": set(),
    "aiopt.yaml_text": set(),
    "aiopt.market": set(),
    "aiopt.catalog": {"aiopt.featurelog", "aiopt.market"},
    "aiopt.indicators": set(),
    "aiopt.evaluation": set(),
    "aiopt.featurelog": set(),
    "aiopt.charts": {"aiopt.indicators", "aiopt.market"},
    "aiopt.dataset": {"aiopt.analyst", "aiopt.charts", "aiopt.indicators", "aiopt.market"},
    "aiopt.strategy": {"aiopt.indicators", "aiopt.market"},
    "aiopt.patterns": set(),
    "aiopt.analyst": {
        "aiopt.charts",
        "aiopt.patterns",
        "aiopt.strategy",
        "aiopt.indicators",
        "aiopt.market",
    },
    "aiopt.backtest": {"aiopt.strategy", "aiopt.indicators", "aiopt.market", "aiopt.evaluation"},
    "aiopt.pine": {"aiopt.strategy", "aiopt.indicators", "aiopt.market"},
    "aiopt.ranking": {"aiopt.evaluation"},
    "aiopt.runs": {"aiopt.ranking", "aiopt.analyst"},
    "aiopt.report": {
        "aiopt.analyst",
        "aiopt.ranking",
        "aiopt.runs",
        "aiopt.evaluation",
        "aiopt.strategy",
        "aiopt.market",
    },
    "aiopt.testing": {
        "aiopt.charts",
        "aiopt.market",
        "aiopt.patterns",
        "aiopt.strategy",
        "aiopt.indicators",
        "aiopt.evaluation",
        "aiopt.ranking",
        "aiopt.runs",
        "aiopt.report",
    },
    "aiopt.cli": {
        "aiopt.market",
        "aiopt.catalog",
        "aiopt.charts",
        "aiopt.patterns",
        "aiopt.analyst",
        "aiopt.testing",
        "aiopt.indicators",
        "aiopt.strategy",
        "aiopt.backtest",
        "aiopt.evaluation",
        "aiopt.featurelog",
        "aiopt.pine",
        "aiopt.ranking",
        "aiopt.report",
        "aiopt.runs",
    },
}
# Heavy libraries and the only packages that may name them.
CONFINED = {
    "ray": {"cluster"},
    "nautilus_trader": {"aiopt.backtest"},
    "pynescript": {"aiopt.pine"},
    "vllm": {"cluster"},
    "torch": {"cluster"},
}


def modules(top: str) -> list[Path]:
    return sorted((ROOT / top).rglob("*.py"))


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return found


def package_of(name: str) -> str:
    return ".".join(name.split(".")[:2]) if name.startswith("aiopt.") else name.split(".")[0]


AIOPT = modules("aiopt")
EVERY = AIOPT + modules("cluster") + modules("jobs")


def test_the_walk_sees_the_packages() -> None:
    seen = {package_of(dotted(path)) for path in EVERY}
    assert set(MAY_IMPORT) <= seen, "a package of the table has no module: delete its row"
    assert {"cluster", "jobs"} <= seen


@pytest.mark.parametrize("path", AIOPT, ids=dotted)
def test_aiopt_modules_import_only_what_the_table_allows(path: Path) -> None:
    package = package_of(dotted(path))
    if package == "aiopt":
        return
    assert package in MAY_IMPORT, f"{package} is not in the table: add it here and in docs/architecture.md"
    allowed = MAY_IMPORT[package] | FOUNDATION | {package}
    for line, name in imports_of(path):
        top = name.split(".")[0]
        assert top not in {"cluster", "jobs"}, f"{path}:{line} imports {name}: the arrow goes the other way"
        if top == "aiopt":
            assert package_of(name) in allowed or name in allowed, (
                f"{path}:{line} {package} may not import {name}"
            )


@pytest.mark.parametrize("path", EVERY, ids=dotted)
def test_heavy_libraries_stay_where_they_belong(path: Path) -> None:
    package = package_of(dotted(path))
    for line, name in imports_of(path):
        owners = CONFINED.get(name.split(".")[0])
        assert owners is None or package in owners, f"{path}:{line} imports {name}, which only {owners} may"


@pytest.mark.parametrize("path", EVERY, ids=dotted)
def test_every_module_says_what_it_owns(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"{path} has no module docstring"


def test_jobs_import_only_cluster() -> None:
    for path in modules("jobs"):
        for line, name in imports_of(path):
            assert not name.startswith("aiopt"), f"{path}:{line} imports {name}: jobs call cluster"
