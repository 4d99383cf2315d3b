"""The recipe of a Ray stage works on Ray as written in CONTRIBUTING.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.recipes import ROOT, copy_tree, read_recipes, run_command, write_steps

pytestmark = pytest.mark.slow


def test_the_recipe_of_a_ray_stage_runs_on_a_cluster(tmp_path: Path) -> None:
    recipe = read_recipes((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))["Add a Ray stage"]
    folder = copy_tree(tmp_path)
    write_steps(recipe, folder)
    (command,) = [command for command in recipe.commands if "ray_local" in command]
    done = run_command(command, folder)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    assert "2 passed" in done.stdout
