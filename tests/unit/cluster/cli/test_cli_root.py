"""The command line root: laziness, exit codes, messages, completion."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import click
import pytest

import aiopt
from aiopt import errors
from cluster.cli import main as cli

HEAVY = ("ray", "nautilus_trader", "polars", "pyarrow", "plotly", "numpy", "pandas", "rich")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from cluster.cli import main as cli; code = cli.run(['--help']); "
        f"print(code, [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "0 []"
    for name in cli.COMMANDS:
        assert name in done.stdout


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_every_command_exists_and_shows_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(importlib.import_module(cli.COMMANDS[name][0]).command, click.Command)
    assert cli.run([name, "--help"]) == errors.EXIT_OK
    assert "aiopt " + name in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == errors.EXIT_OK
    assert aiopt.__version__ in capsys.readouterr().out


def test_unknown_command_hints(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["optimise"]) == errors.EXIT_BAD_INPUT
    captured = capsys.readouterr()
    assert "Did you mean 'optimize'?" in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("shell", cli.SHELLS)
def test_completion_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["completion", shell]) == errors.EXIT_OK
    assert "_AIOPT_COMPLETE" in capsys.readouterr().out


def test_completion_completes() -> None:
    environment = {"_AIOPT_COMPLETE": "bash_complete", "COMP_WORDS": "aiopt clu", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "cluster.cli"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout.split() == ["plain,cluster"]


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (errors.DataError("no rows", file=Path("x.csv"), row=3), errors.EXIT_BAD_INPUT),
        (errors.BacktestError("engine refused"), errors.EXIT_FAILED),
        (OSError(28, "No space left on device", "/somewhere/file"), errors.EXIT_FAILED),
        (KeyboardInterrupt(), errors.EXIT_INTERRUPTED),
    ],
)
def test_failure_gives_message_exit_code_and_json(
    failure: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> NoReturn:
        raise failure

    # Parameters of the command are parsed by click; the callback is what fails.
    monkeypatch.setattr(cli.cli, "main", lambda **_: fail())
    assert cli.run(["ticks", "--json"]) == code
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    document = json.loads(captured.out)
    assert document["error"]["exit_code"] == code
    assert document["error"]["message"] in captured.err


def test_unexpected_error_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> NoReturn:
        raise ZeroDivisionError("defect")

    monkeypatch.setattr(cli.cli, "main", fail)
    with pytest.raises(ZeroDivisionError, match="defect"):
        cli.run(["ticks"])


@pytest.mark.parametrize("name", sorted(cli.LOOKS_UP))
def test_every_command_that_looks_instruments_up_takes_declared_ones(name: str) -> None:
    found = cli.cli.get_command(click.Context(cli.cli), name)
    assert found is not None
    commands = [found]
    while commands:
        command = commands.pop()
        if isinstance(command, click.Group):
            commands += command.commands.values()
            continue
        assert [option for option in command.params if option.name == "instruments_file"], command.name


def test_declared_instruments_hold_for_the_whole_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIOPT_INSTRUMENTS", "")
    path = tmp_path / "instruments.yaml"
    path.write_text(
        "instruments:\n"
        "  - {symbol: DOGEUSDT, base: DOGE, quote: USDT, tick: 0.00001, pip: 0.0001, range: [0.0001, 10]}\n"
    )
    sample = [
        "ticks",
        "sample",
        "--instrument",
        "DOGEUSDT",
        "--days",
        "1",
        "--ticks-per-day",
        "1000",
        "--json",
    ]
    assert cli.run([*sample, "--out", str(tmp_path / "none")]) == errors.EXIT_BAD_INPUT
    assert "--instruments FILE" in capsys.readouterr().err
    assert cli.run([*sample, "--instruments", str(path), "--out", str(tmp_path / "ticks")]) == errors.EXIT_OK
    assert json.loads(capsys.readouterr().out)["instrument"] == "DOGEUSDT"
    path.write_text("instruments: []\n")
    assert cli.run([*sample, "--instruments", str(path), "--out", str(tmp_path / "ticks")]) == 2
    assert "lists no instrument" in capsys.readouterr().err
