"""The documentation says what the code does: every setting with its default, every example runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from aiopt.analyst import AnalystSettings
from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.swap import SwapConfig
from aiopt.bars.importing.series import BarReading
from aiopt.bars.spread_model import SpreadConfig
from aiopt.evaluation import WalkForwardConfig
from aiopt.optimize.configuration import AnalysisConfig, OptimizeConfig, SampleConfig
from aiopt.ranking import RankingConfig
from aiopt.strategy.space import load_search_space
from cluster.resources import ResourceOverrides

DOCS = Path(__file__).resolve().parents[2] / "docs"
CONFIGURATION = (DOCS / "configuration.md").read_text(encoding="utf-8")


def rows_of(section: str) -> dict[str, str]:
    """Return key → default of the first table below a heading."""
    body = CONFIGURATION.split(f"## {section}\n", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| `([a-z_]+)` \| (.*?) \|", body, flags=re.MULTILINE)
    assert rows, f"no table below {section}"
    return dict(rows)


@pytest.mark.parametrize(
    ("section", "type_"),
    [
        ("Top level", OptimizeConfig),
        ("`sample`", SampleConfig),
        ("`bar_reading`", BarReading),
        ("`spread`", SpreadConfig),
        ("`backtest`", BacktestConfig),
        ("`backtest.swap`", SwapConfig),
        ("`walk_forward`", WalkForwardConfig),
        ("`ranking`", RankingConfig),
        ("`analysis`", AnalysisConfig),
        ("`analysis.reader`", AnalystSettings),
    ],
)
def test_every_setting_is_documented_with_its_default(section: str, type_: type[msgspec.Struct]) -> None:
    documented = rows_of(section)
    fields = {field.name: field.default for field in msgspec.structs.fields(type_)}
    assert documented.keys() == fields.keys()
    for name, default in fields.items():
        if isinstance(default, int | float | str):
            assert documented[name].strip("`") == str(default), name


def test_nested_weights_and_stress_are_documented_with_their_defaults() -> None:
    config: dict[str, Any] = msgspec.to_builtins(RankingConfig())
    for group in ("weights", "stress"):
        line = next(row for row in CONFIGURATION.splitlines() if row.startswith(f"| `{group}`"))
        assert dict(re.findall(r"`([a-z_]+)` ([0-9.]+)", line)) == {
            k: str(v) for k, v in config[group].items() if v is not None
        }


def test_every_resource_setting_is_documented() -> None:
    for field in msgspec.structs.fields(ResourceOverrides):
        assert f"AIOPT_RESOURCES__{field.name.upper()}" in CONFIGURATION


def test_the_strategy_example_is_a_valid_strategy(tmp_path: Path) -> None:
    text = (DOCS / "strategies.md").read_text(encoding="utf-8")
    examples = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    assert examples
    for number, example in enumerate(examples):
        path = tmp_path / f"{number}.yaml"
        path.write_text(example)
        assert "search" in yaml.safe_load(example)
        assert len(load_search_space(path).sample(20, seed=1)) == 20


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
