"""``aiopt library``: strategies that accumulate, and what became of them.  Flags and printing only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec
from rich.console import Console

from aiopt.cli.library_files import (
    backup_command,
    export_command,
    import_command,
    restore_command,
    verify_command,
)
from aiopt.cli.library_options import filter_of, filter_options
from aiopt.cli.options import PATH, json_option
from aiopt.cli.output import emit, minute_text, number, print_pairs, print_table, size_text, text

if TYPE_CHECKING:
    from aiopt.library.records import Evaluation, Page, Status, Strategy

Command = TypeVar("Command", bound=Callable[..., Any])


@click.group(epilog="Example: aiopt library status")
def command() -> None:
    """Keep strategies in a database, with where they came from and what they earned on unseen data.

    The database is a PostgreSQL server of one's own in ~/.aiopt/library (AIOPT_STATE_DIR/library), started by
    its first user and stopped after its last; AIOPT_LIBRARY_URL=postgresql://USER@HOST/DATABASE names
    another.  It needs the extra `library`.
    """


@command.command("init", epilog="Example: aiopt library init")
@json_option
def init_command(as_json: bool) -> None:
    """Make the library, or bring the tables of an older one up.  Twice is once."""
    from aiopt.library import init_library

    library, changed = init_library()
    with library:
        found = library.status()
    document = {"changed": changed, **msgspec.to_builtins(found)}

    def human(console: Console) -> None:
        console.print("The library is ready." if changed else "The library was ready before.")
        _print_status(console, found)

    emit(as_json, document, human)


@command.command("status", epilog="Example: aiopt library status --json")
@json_option
def status_command(as_json: bool) -> None:
    """Say where the library is, and how much it holds."""
    from aiopt.library import open_library

    with open_library() as library:
        found = library.status()
    emit(as_json, found, lambda console: _print_status(console, found))


@command.command(
    "add",
    epilog='Example: aiopt library add my.yaml --licence own --origin "a walk in the park" --tag london',
)
@click.argument("files", nargs=-1, required=True, type=PATH)
@click.option("--licence", required=True, help="What may be done with it, e.g. MIT, own.")
@click.option("--origin", required=True, help="Where it comes from: a book, a page, a person.")
@click.option("--author", "authors", multiple=True, help="Who thought of it; may be repeated.")
@click.option("--citation", default="", help="How it is cited.")
@click.option("--tag", "tags", multiple=True, help="A word to find it by; may be repeated.")
@json_option
def add_command(
    files: tuple[Path, ...],
    licence: str,
    origin: str,
    authors: tuple[str, ...],
    citation: str,
    tags: tuple[str, ...],
    as_json: bool,
) -> None:
    """Add the strategies of FILES, specs as YAML or JSON: all of them or, where one is refused, none.

    A spec that differs from a known strategy only in names or writing is said to be the same.  Figures cannot
    be added: they come from runs (`aiopt library import`).
    """
    from aiopt.library import Origin, open_library
    from aiopt.strategy.spec import load_spec

    given = Origin(licence=licence, origin=origin, authors=authors, citation=citation, tags=tags)
    specs = [load_spec(path) for path in files]
    with open_library() as library:
        added = library.add_all((spec, given) for spec in specs)
    document = {
        "added": [
            {"file": str(path), "name": spec.name, **msgspec.to_builtins(one)}
            for path, spec, one in zip(files, specs, added, strict=True)
        ]
    }

    def human(console: Console) -> None:
        for path, spec, one in zip(files, specs, added, strict=True):
            known = (
                f"the same strategy as {one.same_as}, written otherwise" if one.same_as else "known already"
            )
            said = "added" if one.new else known
            console.print(f"{path}: {spec.name} {one.id[:12]}: {said}.", markup=False, soft_wrap=True)

    emit(as_json, document, human)


@command.command("list", epilog="Example: aiopt library list --instrument EURUSD --order deflated --limit 20")
@filter_options
@json_option
def list_command(as_json: bool, **values: Any) -> None:
    """List strategies, a page at a time, with the figures of their newest evaluation."""
    _list("", as_json, values)


@command.command("search", epilog="Example: aiopt library search rsi reversion")
@click.argument("words", nargs=-1, required=True)
@filter_options
@json_option
def search_command(words: tuple[str, ...], as_json: bool, **values: Any) -> None:
    """List strategies with all WORDS, or their beginnings, in name, family, description or origin."""
    _list(" ".join(words), as_json, values)


@command.command("show", epilog="Example: aiopt library show ema_cross_atr --json")
@click.argument("strategy")
@json_option
def show_command(strategy: str, as_json: bool) -> None:
    """Show all that is known of STRATEGY: an id, six or more characters of it, a spec's hash, or a name."""
    from aiopt.library import open_library

    with open_library() as library:
        found = library.show(strategy)
    emit(as_json, found, lambda console: _print_strategy(console, found))


def _list(words: str, as_json: bool, values: dict[str, Any]) -> None:
    from aiopt.library import open_library

    order, limit, offset = values.pop("order"), values.pop("limit"), values.pop("offset")
    wanted = filter_of(words, values)
    with open_library() as library:
        page = library.find(wanted, order=order, limit=limit, offset=offset)
    emit(as_json, page, lambda console: _print_page(console, page))


def _print_status(console: Console, found: Status) -> None:
    own = " (a server of one's own)" if found.embedded else ""
    print_pairs(
        console,
        [
            ("library", found.place + own),
            ("server", found.server),
            ("tables", f"version {found.version}, {size_text(found.bytes)}"),
            ("strategies", f"{found.strategies:,} in {found.spellings:,} writings"),
            ("evaluations", f"{found.evaluations:,} of {found.runs:,} runs"),
            ("history", f"{found.performance:,} periods"),
            ("patterns", f"{found.patterns:,}"),
        ],
    )


def _print_page(console: Console, page: Page) -> None:
    if not page.total:
        console.print("No strategy matches.")
        return
    columns = (
        *("id", text("name"), "from", text("market"), number("evaluated")),
        *(number("OOS P&L"), number("trades"), number("Sharpe"), number("DSR"), text("verdict")),
    )
    rows = [
        (
            row.id[:12],
            row.name,
            row.source,
            f"{row.instrument} {row.timeframe}" if row.instrument else "",
            f"{row.evaluations:,}",
            _money(row.net_pnl),
            "" if row.trades is None else f"{row.trades:,}",
            _ratio(row.sharpe),
            _ratio(row.deflated_sharpe),
            row.verdict or "never evaluated",
        )
        for row in page.rows
    ]
    print_table(console, columns, rows)
    last = page.offset + len(page.rows)
    shown = f"{page.offset + 1:,} to {last:,}" if page.rows else "none"
    console.print(f"{shown} of {page.total:,}; figures: out of sample, of the newest evaluation.")
    if last < page.total and page.rows:
        console.print(f"The next page: --offset {last}")


def _print_strategy(console: Console, found: Strategy) -> None:
    pairs = [
        ("strategy", f"{found.name} of family {found.family}"),
        ("id", found.id),
        ("description", found.description),
        ("from", f"{found.source}: {found.origin}"),
        ("licence", found.licence),
        ("authors", ", ".join(found.authors)),
        ("citation", found.citation),
        ("tags", ", ".join(found.tags)),
        ("added", f"{found.added_at:%Y-%m-%d %H:%M} UTC"),
        ("writings", ", ".join(f"{one.name} {one.spec_hash[:12]}" for one in found.spellings)),
        ("made of", ", ".join(one[:12] for one in found.parents)),
        ("made into", ", ".join(one[:12] for one in found.children)),
        ("other settings", f"{len(found.same_structure):,}" if found.same_structure else ""),
    ]
    print_pairs(console, [(name, value) for name, value in pairs if value])
    if not found.evaluations:
        console.print("It was never evaluated: no run has ranked it.")
        return
    console.print()
    _print_evaluations(console, found.evaluations)
    console.print()
    rows = [
        (
            one.kind.replace("_", " "),
            f"{minute_text(one.start_ns)[:10]} to {minute_text(one.stop_ns)[:10]}",
            _money(one.net_pnl),
            f"{one.trades:,}",
            _ratio(one.sharpe),
        )
        for one in found.history
    ]
    print_table(console, ("period", "days", number("P&L"), number("trades"), number("Sharpe")), rows)


def _print_evaluations(console: Console, evaluations: list[Evaluation]) -> None:
    columns = (
        *("run", number("rank"), text("market"), number("OOS P&L"), number("trades")),
        *(number("Sharpe"), text("interval"), number("DSR"), number("trials"), text("verdict")),
    )
    rows = [
        (
            one.run,
            f"{one.rank}",
            f"{one.instrument} {one.timeframe}",
            _money(one.net_pnl),
            f"{one.trades:,}",
            _ratio(one.sharpe),
            f"{_ratio(one.sharpe_low)} to {_ratio(one.sharpe_high)}",
            _ratio(one.deflated_sharpe),
            f"{one.trials_counted:,}",
            one.verdict,
        )
        for one in evaluations
    ]
    print_table(console, columns, rows)


def _money(value: float | None) -> str:
    return "" if value is None else f"{value:,.2f}"


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


for _one in (import_command, export_command, backup_command, restore_command, verify_command):
    command.add_command(_one)
