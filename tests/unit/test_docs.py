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
from aiopt.bars.importing.reading import BarReading
from aiopt.bars.spread_model import SpreadConfig
from aiopt.evaluation import WalkForwardConfig
from aiopt.optimize.configuration import AnalysisConfig, OptimizeConfig, SampleConfig
from aiopt.ranking import RankingConfig
from aiopt.robustness.robustness_config import RobustnessConfig
from aiopt.strategy.space import load_search_space
from cluster.resources import ResourceOverrides

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])
CONFIGURATION = (DOCS / "reference" / "configuration.md").read_text(encoding="utf-8")


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
        ("`robustness`", RobustnessConfig),
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
    text = (DOCS / "reference" / "strategies.md").read_text(encoding="utf-8")
    examples = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    assert examples
    for number, example in enumerate(examples):
        path = tmp_path / f"{number}.yaml"
        path.write_text(example)
        assert "search" in yaml.safe_load(example)
        assert len(load_search_space(path).sample(20, seed=1)) == 20


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        number = 0
        while (anchor := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(anchor)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_and_anchor_leads_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        there = page.parent / target if target else page
        assert there.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(there), f"{page.name} links to {target}#{anchor}"


def test_every_page_is_reached_from_the_index() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    linked = {(DOCS / target).resolve() for target in re.findall(r"\]\(([^)#\s]+\.md)", index)}
    assert set(DOCS.rglob("*.md")) - {DOCS / "README.md"} - linked == set()


def test_the_table_of_features_names_paths_that_exist() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    section = text.split("## Which file holds what\n", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| ([^|`][^|]*) \| `([^`]+)` \|$", section, flags=re.MULTILINE)
    assert len(rows) >= 20
    assert len({feature for feature, _ in rows}) == len(rows)
    missing = [path for _, path in rows if not (ROOT / path).exists()]
    assert not missing, f"moved or renamed: name the new path in docs/architecture.md: {missing}"


def test_decisions_are_numbered_without_a_gap_and_have_their_three_sections() -> None:
    pages = sorted((DOCS / "decisions").glob("*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for number, page in enumerate(pages, start=1):
        text = page.read_text(encoding="utf-8")
        assert text.startswith(f"# {number}. ")
        assert re.findall(r"^## (.+)$", text, flags=re.MULTILINE) == ["Context", "Decision", "Consequences"]
