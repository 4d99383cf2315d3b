"""The command `aiopt`: composes all command groups and turns errors into messages and exit codes.

Owns the root group, shell completion and the exit codes; knows no command's content.  Command modules are
imported when their command runs, so that `aiopt --help` stays instant.

Exit codes: 0 done, 1 failed, 2 bad input or usage, 130 interrupted.  A failure prints ``error: MESSAGE`` on
stderr; with ``--json`` it also prints ``{"error": {"type", "message", "exit_code"}}`` on stdout, so that
stdout holds exactly one JSON document whatever happened.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from aiopt import __version__
from aiopt.errors import EXIT_BAD_INPUT, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, AioptError, did_you_mean
from aiopt.files import storage_error

COMMANDS: dict[str, tuple[str, str]] = {
    # name: (module that has `command`, one line for the overview)
    "ticks": ("aiopt.cli.ticks", "Import, generate and validate ticks."),
    "bars": ("cluster.cli.bars", "Build bars from ticks."),
    "data": ("aiopt.cli.data", "List, verify, pack, prune and export what lies in the data folders."),
    "indicators": ("aiopt.cli.indicators", "List indicators and compute them over bars."),
    "charts": ("cluster.cli.charts", "Draw bars, indicators and trades as PNG."),
    "dataset": ("cluster.cli.dataset", "Build training sets of features, labels and charts."),
    "analyst": ("cluster.cli.analyst", "Read charts with a model or by rules; score who reads them."),
    "specs": ("aiopt.cli.specs", "List, show and check strategy specs."),
    "backtest": ("aiopt.cli.backtest", "Backtest one strategy spec."),
    "compare": (
        "aiopt.cli.compare",
        "Compare two backtests or two runs, with an interval for the difference.",
    ),
    "optimize": ("cluster.cli.optimize", "Sweep, rank and emit Pine Script on a Ray cluster."),
    "pine": ("aiopt.cli.pine", "Emit and check Pine Script."),
    "report": ("aiopt.cli.report", "Write the report of a run again."),
    "runs": ("aiopt.cli.runs", "List, show and delete runs."),
    "trials": ("aiopt.cli.trials", "List, show and rerun trials of a run; count all ever made."),
    "live": ("aiopt.cli.live", "Trade strategies on paper, tick by tick."),
    "library": ("aiopt.cli.library", "Keep strategies, and what they earned on unseen data, in a database."),
    "paths": ("aiopt.cli.paths", "Show what other paths through a run's trials say."),
    "bus": ("aiopt.cli.bus", "Check a bus of live sessions, follow events, send commands."),
    "serve": ("cluster.cli.serve", "Start, show and stop the model endpoint."),
    "eyes": ("cluster.cli.eyes", "Make and show the shipped picture reader."),
    "model": ("cluster.cli.model", "Train models; list, load, swap and roll back served ones."),
    "cluster": ("cluster.cli.node", "Start, join, inspect and stop the local Ray cluster."),
    "jobs": ("cluster.cli.jobs", "Submit jobs to a cluster; list, follow and stop them."),
    "doctor": ("cluster.cli.doctor", "Say what stands in the way of a run, and what to do."),
}


LOOKS_UP = {
    "ticks",
    "bars",
    "data",
    "indicators",
    "charts",
    "dataset",
    "analyst",
    "backtest",
    "optimize",
    "pine",
    "compare",
    "trials",
    "paths",
    "library",
    "live",
    "runs",
}
"""Groups whose commands look instruments up: each of them has --instruments."""

SHELLS = ("bash", "zsh", "fish")
_COMPLETE_VARIABLE = "_AIOPT_COMPLETE"


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called, not when they are listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of `COMMANDS`."""
        return [*COMMANDS, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command."""
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        found: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        return _with_instruments(found) if cmd_name in LOOKS_UP else found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve a command; an unknown name gets a hint."""
        name = args[0]
        if not name.startswith("-") and name not in self.list_commands(ctx):
            ctx.fail(f"No such command {name!r}.{did_you_mean(name, self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the overview from the table, importing nothing."""
        rows = [(name, line) for name, (_, line) in COMMANDS.items()]
        for name in super().list_commands(ctx):
            own = super().get_command(ctx, name)
            rows.append((name, "" if own is None else own.get_short_help_str()))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _declare(ctx: click.Context, parameter: click.Parameter, path: Path | None) -> None:
    del ctx, parameter
    if path is not None:
        from aiopt.market.instrument_file import use_instruments

        use_instruments(path)


def _with_instruments(command: click.Command) -> click.Command:
    """Add --instruments to a command, or to all commands of a group, where it is not there yet."""
    if isinstance(command, click.Group):
        for sub_command in command.commands.values():
            _with_instruments(sub_command)
    elif not any(parameter.name == "instruments_file" for parameter in command.params):
        option = click.Option(
            ["--instruments", "instruments_file"],
            type=click.Path(path_type=Path),
            metavar="FILE",
            expose_value=False,
            # Before any other option: they may name an instrument of the file.
            is_eager=True,
            callback=_declare,
            help="YAML file with instruments of your own; also AIOPT_INSTRUMENTS.",
        )
        command.params.append(option)
    return command


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: aiopt optimize jobs/optimize.yaml",
)
@click.version_option(__version__, prog_name="aiopt")
def cli() -> None:
    """From raw EUR/USD ticks to TradingView strategies one can trust, on a Ray cluster."""


@cli.command(epilog="Example: echo 'eval \"$(aiopt completion bash)\"' >> ~/.bashrc")
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the completion script of a shell."""
    completion_class = get_completion_class(shell)
    if completion_class is None:
        raise click.UsageError(f"Click has no completion for {shell}.")
    click.echo(completion_class(cli, {}, "aiopt", _COMPLETE_VARIABLE).source())


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code.

    Parameters
    ----------
    arguments : sequence of str
        Without the program name.
    """
    as_json = "--json" in arguments
    try:
        result = cli.main(
            args=list(arguments), prog_name="aiopt", complete_var=_COMPLETE_VARIABLE, standalone_mode=False
        )
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.UsageError as error:
        usage = "" if error.ctx is None else f"{error.ctx.get_usage()}\n"
        return _fail("UsageError", error.format_message(), EXIT_BAD_INPUT, as_json, before=usage)
    except click.ClickException as error:
        return _fail(type(error).__name__, error.format_message(), EXIT_BAD_INPUT, as_json)
    except (KeyboardInterrupt, click.Abort):
        return _fail("Interrupted", "interrupted", EXIT_INTERRUPTED, as_json)
    except AioptError as error:
        return _fail(type(error).__name__, str(error), error.exit_code, as_json)
    except BrokenPipeError:
        # The reader (`| head`) has what it wants; silence the interpreter's own flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except OSError as error:
        translated = storage_error(Path(error.filename or "."), error)
        if translated is None:
            raise
        return _fail(type(translated).__name__, str(translated), translated.exit_code, as_json)
    return result if isinstance(result, int) and not isinstance(result, bool) else EXIT_OK


def main() -> None:
    """Entry point of the console script."""
    try:
        code = run(sys.argv[1:])
    except Exception as error:
        # A defect: the traceback is what the report of it needs.
        if "--json" in sys.argv:
            _print_json_error(type(error).__name__, str(error), EXIT_FAILED)
        raise
    sys.exit(code)


def _fail(kind: str, message: str, exit_code: int, as_json: bool, *, before: str = "") -> int:
    click.echo(f"{before}error: {message}", err=True)
    if as_json:
        _print_json_error(kind, message, exit_code)
    return exit_code


def _print_json_error(kind: str, message: str, exit_code: int) -> None:
    click.echo(json.dumps({"error": {"type": kind, "message": message, "exit_code": exit_code}}))
