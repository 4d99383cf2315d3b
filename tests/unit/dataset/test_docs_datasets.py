"""docs/how-to/datasets.md: every setting with its default, every column, and examples that run."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from aiopt.dataset import (
    BarrierConfig,
    CostConfig,
    DatasetConfig,
    FeatureConfig,
    ImageConfig,
    LabelConfig,
    SplitConfig,
    build_dataset,
    plan_rows,
)
from aiopt.testing.bars import random_walk_bar_set

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "how-to" / "datasets.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("heading", "type_"),
    [
        ("## Configuration", DatasetConfig),
        ("### `features`", FeatureConfig),
        ("### `labels`", LabelConfig),
        ("### `labels.triple_barrier`", BarrierConfig),
        ("### `labels.costs`", CostConfig),
        ("### `splits`", SplitConfig),
        ("### `images`", ImageConfig),
    ],
)
def test_every_setting_is_documented_with_its_default(heading: str, type_: type[msgspec.Struct]) -> None:
    body = PAGE.split(f"{heading}\n", 1)[1].split("\n## ", 1)[0].split("\n### ", 1)[0]
    documented = dict(re.findall(r"^\| `([a-z_]+)` \| (.*?) \|", body, flags=re.MULTILINE))
    fields = {field.name: field.default for field in msgspec.structs.fields(type_)}
    assert documented.keys() == fields.keys()
    for name, default in fields.items():
        if default is None:
            assert documented[name] == "none", name
        elif isinstance(default, int | float | str):
            assert documented[name].strip("`") == str(default), name


def test_every_column_is_documented() -> None:
    bars = random_walk_bar_set(1_200, seed=1, timeframe="5m")
    plan = plan_rows(bars, DatasetConfig(labels=LabelConfig(costs=CostConfig())))
    plain = re.sub(r"_(6|12|24)$", "_H", "\n".join(plan.labels.columns), flags=re.MULTILINE)
    for name in plain.split():
        assert f"`{name}`" in PAGE, name
    known = ("feature", "open", "high", "low", "close", "volume")
    indicator = re.compile(r"^(ema|rsi|macd|bollinger|dmi)_\d|^log_return_\d")
    for name in plan.features.columns:
        if name not in known and not indicator.match(name):
            assert f"`{name}`" in PAGE, name
    for reason in plan.left_out:
        assert f"`{reason}`" in PAGE, reason


@pytest.mark.filterwarnings("ignore")
def test_the_examples_read_a_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = DatasetConfig(
        features=FeatureConfig(regime_window=100),
        images=ImageConfig(window=60, width=480, height=320, panes=("rsi",)),
        stride=20,
        messages_horizon=12,
    )
    bars = random_walk_bar_set(1_200, seed=61, timeframe="5m")
    info = build_dataset(bars, tmp_path / "data" / "datasets" / "pictures", config)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    polars, hugging_face, _, facts = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    names: dict = {}
    exec(polars, names)
    assert names["x"].shape == (info.splits["train"].rows, len(info.feature_columns))
    assert set(names["y"]) <= {-1, 0, 1}
    exec(facts, names)
    assert abs(names["z"].mean()) < 1e-9
    datasets = pytest.importorskip("datasets", reason="Hugging Face datasets is not installed")
    datasets.disable_progress_bars()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    exec(hugging_face, names)
    assert names["picture"].size == (480, 320)
    assert names["messages"][0]["role"] == "system"
