"""``aiopt specs``: list the ready families, print one as a file to start from, check a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from aiopt.cli.options import json_option
from aiopt.cli.output import emit, number, print_table, text

if TYPE_CHECKING:
    from aiopt.strategy.space import SearchSpace
    from aiopt.strategy.spec import StrategySpec


@click.group(epilog="Example: aiopt specs show rsi_reversion > my_strategy.yaml")
def command() -> None:
    """List, show and check strategy specs."""


@command.command("list", epilog="Example: aiopt specs list --json")
@json_option
def list_command(as_json: bool) -> None:
    """List the ready strategy families."""
    from aiopt.strategy.families import FAMILIES

    document = {
        "families": [
            {
                "family": name,
                "description": space.spec.description,
                "params": space.spec.params,
                "dimensions": len(space.dimensions),
                "points": space.size(),
            }
            for name, space in FAMILIES.items()
        ]
    }

    def human(console: Console) -> None:
        rows = []
        for name, space in FAMILIES.items():
            points = space.size()
            count = "endless" if points is None else f"{points:,}"
            rows.append((name, space.spec.description, ", ".join(space.dimensions), count))
        print_table(console, ("family", text("what it does"), text("swept"), number("points")), rows)

    emit(as_json, document, human)


@command.command("show", epilog="Example: aiopt specs show macd_adx_trend > my_strategy.yaml")
@click.argument("family")
@json_option
def show_command(family: str, as_json: bool) -> None:
    """Print a ready family as YAML, with its search space: a file to start from."""
    from aiopt.strategy.families import family as ready_family

    space = ready_family(family)
    emit(as_json, _document(space.spec, space), lambda console: click.echo(space.to_yaml(), nl=False))


@command.command("check", epilog="Example: aiopt specs check my_strategy.yaml")
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def check_command(file: Path, as_json: bool) -> None:
    """Check a strategy file; exit code 2 and the reason if it breaks a rule."""
    from aiopt.strategy.space import load_search_space
    from aiopt.strategy.spec import read_spec_file

    spec, search = read_spec_file(file)
    space: SearchSpace | None = None
    if search is not None:
        space = load_search_space(file)
        space.sample(1, seed=0)  # raises if no point is valid

    def human(console: Console) -> None:
        console.print(f"{file}: strategy {spec.name}, family {spec.family}, spec hash {spec.spec_hash}")
        console.print(f"Signals can fire from bar {spec.warmup_bars} on.")
        for field in spec.trees:
            console.print(f"  {field}: {getattr(spec, field)}", markup=False)
        if space is not None:
            points = space.size()
            count = "endlessly many" if points is None else f"{points:,}"
            console.print(f"Search: {len(space.dimensions)} parameters, {count} valid points.")

    emit(as_json, _document(spec, space), human)


def _document(spec: StrategySpec, space: SearchSpace | None) -> dict[str, Any]:
    search = None
    if space is not None:
        search = {
            "dimensions": space.dimensions,
            "constraints": space.constraints,
            "points": space.size(),
        }
    return {"spec": spec, "spec_hash": spec.spec_hash, "warmup_bars": spec.warmup_bars, "search": search}
