"""Every recipe of CONTRIBUTING.md works as written: a copy of the tree follows it and passes its check."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.unit.recipes import ROOT, copy_tree, read_recipes, run_command, write_steps

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
RECIPES = read_recipes(TEXT)
NODE = shutil.which("node") or shutil.which("node", path=str(Path(sys.executable).parent))


def test_the_recipes_are_the_four_that_are_promised() -> None:
    assert list(RECIPES) == [
        "Add an indicator",
        "Add a strategy family",
        "Add a tick source",
        "Add a Ray stage",
    ]
    assert all(recipe.steps and recipe.commands for recipe in RECIPES.values())


@pytest.mark.slow
@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe_works_as_written(title: str, tmp_path: Path) -> None:
    recipe = RECIPES[title]
    if "pine_engine" in " ".join(recipe.commands) and NODE is None:
        pytest.skip("Node is not installed; the Pine engine of this recipe needs it")
    folder = copy_tree(tmp_path)
    write_steps(recipe, folder)
    # tests/ray_local/test_contributing.py runs those that start Ray.
    commands = [command for command in recipe.commands if "ray_local" not in command]
    assert commands
    for command in commands:
        done = run_command(command, folder)
        if "no independent Pine engine" in done.stderr:
            pytest.skip("PineTS cannot be installed here; the last steps of this recipe need it")
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"


def test_every_path_and_target_of_the_page_exists() -> None:
    prose = TEXT.split("\n# Recipes\n")[0]
    paths = re.findall(r"(?:tests|docs|aiopt|cluster)/[\w/.]*\w", prose)
    assert len(paths) > 8
    assert [path for path in paths if not (ROOT / path).exists()] == []
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"make ([a-z-]+)", TEXT))
    assert targets >= {"check", "test"}
    assert [name for name in targets if not re.search(rf"^{name}:", makefile, flags=re.MULTILINE)] == []
