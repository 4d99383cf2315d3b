"""docs/how-to/pine-fix.md shows what the command prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from aiopt.cli.pine import command

PAGE = Path(__file__).parents[4] / "docs" / "how-to" / "pine-fix.md"


@pytest.mark.parametrize("name", ["old.pine", "ask.pine"])
def test_the_page_shows_what_is_printed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = re.search(
        rf"`{name}`:\n\n```pine\n(.*?)```\n\n`aiopt pine fix {name}` prints:\n\n```text\n(.*?)```",
        PAGE.read_text(encoding="utf-8"),
        re.DOTALL,
    )
    assert shown is not None
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(shown[1], encoding="utf-8")
    done = CliRunner().invoke(command, ["fix", name])
    assert done.exit_code == 0
    assert done.stdout == shown[2]
