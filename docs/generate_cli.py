"""Write docs/reference/cli.md from the commands themselves: `python docs/generate_cli.py`.

Owns the page's layout and the sentences that no command says of itself.  What a command takes and means
comes from click, so the page says what `--help` says.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from cluster.cli.main import cli

PAGE = Path(__file__).resolve().parent / "reference" / "cli.md"

MORE = {
    # command: page that says more
    "ticks": "../how-to/ticks.md",
    "bars": "../how-to/bars.md",
    "data": "../how-to/catalog.md",
    "charts": "../how-to/charts.md",
    "dataset": "../how-to/datasets.md",
    "dataset logs": "../how-to/feature-log.md",
    "analyst": "../how-to/analyst.md",
    "specs": "strategies.md",
    "backtest": "strategies.md#where-stops-fill",
    "optimize": "configuration.md",
    "compare": "files.md",
    "paths": "../explanation/paths.md",
    "runs": "../architecture.md#a-run-folder",
    "pine fix": "../how-to/pine-fix.md",
    "bus": "../explanation/bus.md",
    "serve": "../how-to/serving.md",
    "model": "../how-to/serving.md#what-a-swap-does",
    "cluster": "../how-to/operations.md",
}

HEAD = """\
# Command line

<!-- Generated: do not edit.  `python docs/generate_cli.py` writes this page from the commands. -->

Every command has `--help`. Almost every command has `--json`: it prints one JSON document on stdout, and
progress and logs go to stderr. [Files and JSON](files.md) says what the documents hold.
Shell completion: `eval "$(aiopt completion bash)"` (also `zsh`, `fish`).

## Exit codes

| code | meaning |
|---|---|
| 0 | done |
| 1 | failed although the input was fine (engine, cluster, disk) |
| 2 | bad input or usage; the message says what happened, shows the value and tells what to do |
| 130 | interrupted; finished work is kept |
| 143 | terminated while following a job, which runs on |

With `--json` a failing command prints `{"error": {"type": …, "message": …, "exit_code": …}}` on stdout, too.
"""


def commands(
    command: click.Command, context: click.Context, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command, click.Context]]:
    """Walk a command and all below it: each with its path and context, parents first."""
    if path:
        yield path, command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None and not below.hidden:
                inner = click.Context(below, info_name=name, parent=context)
                yield from commands(below, inner, (*path, name))


def root() -> click.Context:
    """Return the context of `aiopt` itself; wide, so that no help text is folded."""
    return click.Context(cli, info_name="aiopt", terminal_width=10_000, max_content_width=10_000)


def page() -> str:
    """Return the whole page."""
    context = root()
    found = list(commands(cli, context))
    overview = [
        f"| [`aiopt {' '.join(path)}`](#aiopt-{'-'.join(path)}) | {_cell(command.get_short_help_str(200))} |"
        for path, command, _ in found
        if not isinstance(command, click.Group)
    ]
    parts = [HEAD, "## Commands\n\n| command | does |\n|---|---|\n" + "\n".join(overview) + "\n"]
    parts += [_section(path, command, inner) for path, command, inner in found]
    return "\n".join(parts)


def _section(path: tuple[str, ...], command: click.Command, context: click.Context) -> str:
    """Return the section of one command or group: heading, help, usage, options and example."""
    name = " ".join(path)
    lines = [f"{'#' * min(len(path) + 1, 4)} aiopt {name}", ""]
    lines += [_markdown(command.help or command.get_short_help_str(200)), ""]
    if more := MORE.get(name):
        page_name = more.partition("#")[0].rpartition("/")[2]
        lines += [f"More: [{page_name}]({more}).", ""]
    if not isinstance(command, click.Group):
        lines += ["```text", " ".join(command.get_usage(context).split()).removeprefix("Usage: "), "```", ""]
        records = [
            record
            for option in command.get_params(context)
            if isinstance(option, click.Option)
            and "--help" not in option.opts
            and (record := option.get_help_record(context))
        ]
        if records:
            lines += ["| option | meaning |", "|---|---|"]
            lines += [f"| `{_cell(option)}` | {_cell(_text(meaning))} |" for option, meaning in records]
            lines.append("")
    if command.epilog:
        example = command.epilog.removeprefix("Example:").strip()
        lines += ["```bash", example, "```", ""]
    return "\n".join(lines)


def _markdown(text: str) -> str:
    """Return a help text as Markdown: click's paragraphs, a backspace marks those kept line by line."""
    paragraphs = []
    for paragraph in inspect.cleandoc(text).split("\f")[0].split("\n\n"):
        if paragraph.startswith("\b"):
            kept = paragraph.removeprefix("\b").strip("\n")
            paragraphs.append(f"```text\n{kept}\n```")
        else:
            paragraphs.append(_text(" ".join(paragraph.split())))
    return "\n\n".join(paragraphs)


def _text(text: str) -> str:
    return text.replace("<", "&lt;").replace("*", r"\*")


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    click.echo(f"wrote {PAGE}")
