import re
from pathlib import Path

from aiopt.charts.layout import LEFT
from aiopt.charts.spec import MAX_OVERLAYS, MAX_PANES, MAX_SIDE, MIN_HEIGHT, MIN_WIDTH

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "how-to" / "charts.md").read_text(encoding="utf-8")


def test_the_example_runs_and_the_layout_is_the_documented_one() -> None:
    example, parallel = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    names: dict = {}
    exec(parallel, names)
    assert len(set(names["pngs"])) == len(names["windows"]) == 9
    names = {}
    exec(example, names)
    assert len(set(names["pngs"])) == 7
    assert all(png.startswith(b"\x89PNG") for png in names["pngs"])
    layout = names["layout"]
    assert (layout.bars.n_bars, layout.bars.left, layout.bars.width) == (200, LEFT, 1104)


def test_limits_are_the_documented_ones() -> None:
    assert f"{MIN_WIDTH} × {MIN_HEIGHT} to {MAX_SIDE} × {MAX_SIDE} pixels" in PAGE
    assert f"{MAX_OVERLAYS} overlays, {MAX_PANES} panes" in PAGE
