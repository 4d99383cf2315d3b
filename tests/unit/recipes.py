"""Follow the recipes of CONTRIBUTING.md in a copy of the tree: write files, change files, run the checks."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("aiopt", "cluster", "jobs", "serve_configs", "tests", "pyproject.toml")

_BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Recipe:
    """One recipe: files to write or change, in order, and the commands of its check."""

    title: str
    steps: tuple[tuple[str, str, str], ...]  # kind, path, text
    commands: tuple[str, ...]


def read_recipes(text: str) -> dict[str, Recipe]:
    """Return title → recipe."""
    found = {}
    for section in text.split("\n# Recipes\n", 1)[1].split("\n## ")[1:]:
        title, body = section.split("\n", 1)
        blocks = _BLOCK.findall(body)
        steps = tuple(block for block in blocks if block[0] != "sh")
        assert all(path for _, path, _ in steps), f"{title}: a block names no file"
        commands = tuple(line for kind, _, lines in blocks if kind == "sh" for line in lines.splitlines())
        found[title] = Recipe(title, steps, commands)
    return found


def copy_tree(folder: Path) -> Path:
    """Copy what a check needs; the installed Pine engine is shared."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    (ROOT / ".cache").mkdir(exist_ok=True)
    (folder / ".cache").symlink_to(ROOT / ".cache")
    return folder


def write_steps(recipe: Recipe, folder: Path) -> None:
    """Write and change the files of a recipe."""
    for kind, name, text in recipe.steps:
        path = folder / name
        if kind == "diff":
            path.write_text(_changed(path.read_text(encoding="utf-8"), text, name), encoding="utf-8")
        else:
            assert not path.exists(), f"{recipe.title}: {name} is there already"
            path.write_text(text, encoding="utf-8")


def _changed(text: str, diff: str, name: str) -> str:
    lines = diff.splitlines()
    before = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("+"))
    after = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("-"))
    assert text.count(before) == 1, f"{name} must hold these lines once:\n{before}"
    return text.replace(before, after)


def run_command(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of a recipe with this interpreter, on the copy."""
    program, *words = _words(command)
    assert program == ".venv/bin/python", command
    # Lines of a copy are not counted: measuring them would only cost time.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )


def _words(command: str) -> list[str]:
    return [quoted or plain for quoted, plain in re.findall(r'"([^"]*)"|(\S+)', command)]
