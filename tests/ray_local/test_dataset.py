"""A dataset whose charts are drawn on real Ray equals the local one, and Ray Data reads it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from aiopt.dataset import read_info
from aiopt.testing.bars import random_walk_bar_set, write_bar_file
from cluster.cli.main import run


@pytest.mark.filterwarnings("ignore:.* is deprecated.*:DeprecationWarning")
def test_charts_drawn_on_the_cluster_make_the_same_dataset(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, ray_driver: object
) -> None:
    both = random_walk_bar_set(1_200, seed=51, timeframe="5m")
    write_bar_file(both.bid, tmp_path / "bars" / "bid.parquet")
    write_bar_file(both.ask, tmp_path / "bars" / "ask.parquet")
    documents = {}
    for engine in ("local", "ray"):
        arguments = ("--bars", tmp_path / "bars", "--out", tmp_path / engine, "--engine", engine)
        more = ("--images", "embed", "--stride", 10, "--messages-horizon", 6, "--json")
        assert run(["dataset", "build", *map(str, (*arguments, *more))]) == 0
        documents[engine] = json.loads(capsys.readouterr().out)
    assert documents["local"]["files"] == documents["ray"]["files"]
    assert documents["ray"]["rows"] > 40

    from ray.data import DataContext

    DataContext.get_current().enable_progress_bars = False
    info = read_info(tmp_path / "ray")
    page = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "datasets.md").read_text(
        encoding="utf-8"
    )
    (example,) = re.findall(r"```python\n(import ray.*?)```", page, flags=re.DOTALL)
    names: dict = {}
    exec(example.replace("data/datasets/pictures", str(tmp_path / "ray")), names)
    rows = names["train"].take_all()
    assert len(rows) == info.splits["train"].rows
    assert all(row["image"]["bytes"].startswith(b"\x89PNG") for row in rows)
