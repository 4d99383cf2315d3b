"""``aiopt live``: run strategies on paper, tick by tick; show a session.  Owns flags and what is printed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Console

from aiopt.cli.live_control import add_control_commands
from aiopt.cli.live_readings import analyst_of, analyst_pairs, readings_command
from aiopt.cli.live_report import report_command, watch_command
from aiopt.cli.options import PATH, OutFolder, json_option, typed
from aiopt.cli.output import emit, minute_text, print_pairs, progress, stderr_console
from aiopt.errors import ConfigError

if TYPE_CHECKING:
    from aiopt.live.session.live_config import LiveConfig
    from aiopt.live.session.proof import Proof
    from aiopt.live.session.session_end import SessionEnd
    from aiopt.live.state.session_file import SessionFile


@dataclass(frozen=True, kw_only=True)
class LiveOptions:
    """What the command line says; fields as the options' help has it."""

    config_path: Path | None
    replay: Path | None
    specs: tuple[str, ...]
    timeframe: str | None
    start: str | None
    stop: str | None
    speed: float | None
    warm_up_days: float | None
    balance: float
    profile: str | None
    on_start: str | None
    analyst: str | None
    model: str | None
    bus: str | None
    metrics_port: int | None
    prove: bool
    out: Path
    as_json: bool


@click.group("live", epilog="Example: aiopt live run --replay data/ticks/EURUSD --spec rsi_reversion")
def command() -> None:
    """Trade strategies on paper, tick by tick, as they were backtested."""


command.add_command(report_command)
command.add_command(watch_command)


@command.command("run", epilog="Example: aiopt live run --replay data/ticks/EURUSD --spec rsi_reversion")
@click.argument("config_path", metavar="[CONFIG]", required=False, type=PATH)
@click.option("--replay", type=PATH, help="Tick store to replay; instead of CONFIG.")
@click.option(
    "--spec",
    "specs",
    multiple=True,
    help="Spec file, ready family, or RUN#RANK, e.g. runs/abc#1: a ranked entry; may be repeated.",
)
@click.option(
    "--timeframe", help="Bars the specs decide on.  [default: those an entry was ranked on, else 5m]"
)
@click.option("--start", help="Begin at this time, UTC, e.g. 2024-03-07. Default: with the store.")
@click.option("--stop", help="End before this time, UTC. Default: with the store.")
@click.option("--speed", type=float, help="1: as it was; 60: an hour in a minute; 0: as fast as it goes.")
@click.option("--warm-up-days", type=float, help="Days of the store before --start to warm indicators up on.")
@click.option("--balance", type=float, default=100_000.0, show_default=True, help="Of the account.")
@click.option(
    "--profile",
    type=click.Choice(["dev", "paper"]),
    help="paper commits every bar at once, dev once a second.",
)
@click.option(
    "--on-start",
    type=click.Choice(["keep", "flat"]),
    help="What a session that goes on does with what is open.",
)
@click.option("--analyst", help="Who reads charts: rules, or the URL of an endpoint; more of it in a CONFIG.")
@click.option("--model", help="Served name of the model that reads at --analyst URL.")
@click.option("--metrics-port", type=int, help="Serve metrics for Prometheus at this port; 0: any free one.")
@click.option(
    "--bus",
    help="Tell events on this bus and obey it, e.g. local:runs/live/bus (a server of its own) or redis://HOST.",
)
@click.option(
    "--prove/--no-prove",
    default=True,
    show_default=True,
    help="Backtest the same ticks at the end and explain every difference.",
)
@click.option(
    "--out",
    type=OutFolder(),
    default="runs/live",
    show_default=True,
    help="Folder of the session; one that was left goes on from there.",
)
@json_option
@typed(LiveOptions)
def run_command(options: LiveOptions) -> None:
    """Run a session on paper: of a CONFIG file, or of a replayed tick store and specs.

    What happens is kept in OUT/session.sqlite, behind every step.  Ctrl-C ends it behind the present one;
    after that, or after any crash, the same command goes on from the last step.  When it ends OUT holds
    trades.csv, session.json and report.html; at the end of a replay with the backtest's trades on the same
    ticks compared.
    """
    from aiopt.live.report.observer import SessionObserver
    from aiopt.live.report.page import write_session_report
    from aiopt.live.session.live_session import LiveSession, check_session
    from aiopt.live.session.proof_ticks import is_provable
    from aiopt.live.session.run_folder import prove_session, write_folder
    from aiopt.live.state.session_file import SessionFile

    config = _config(options)
    check_session(config)
    with SessionFile(options.out) as file:
        session = LiveSession(config, file)
        with SessionObserver(file, session.session_id, config.metrics) as observer:
            session.observer = observer
            if observer.port is not None:
                stderr_console().print(f"Metrics: http://{config.metrics.address}:{observer.port}/metrics")
            with progress("history", 1.0, quiet_s=1.0) as report:
                session.fetch_history(report)
            with progress("quotes", session.total, quiet_s=1.0) as report:
                end = session.run(report)
        for text in end.warnings:
            stderr_console().print(f"Note: {text}.", markup=False, soft_wrap=True)
        proofs = None
        if end.ended and options.prove and config.at_end == "flatten" and is_provable(config):
            with progress("backtests", len(config.strategies), quiet_s=1.0) as report:
                proofs = prove_session(file, config, report)
        write_folder(file, config, end, proofs)
        write_session_report(options.out)
        document = {
            "folder": str(options.out),
            **msgspec.to_builtins(end),
            "proof": msgspec.to_builtins(proofs),
        }
        emit(options.as_json, document, lambda console: _print(console, file, end, proofs))


def _config(options: LiveOptions) -> LiveConfig:
    config = _session_config(options)
    if options.metrics_port is None:
        return config
    metrics = msgspec.structs.replace(config.metrics, port=options.metrics_port)
    return msgspec.structs.replace(config, metrics=metrics)


def _session_config(options: LiveOptions) -> LiveConfig:
    from aiopt.live.paper.paper_config import PaperConfig
    from aiopt.live.session.live_config import LiveConfig, ReplayFeed, TradedSpec, load_live_config
    from aiopt.market.instrument import instrument
    from aiopt.ticks.manifest import read_manifest

    if (options.config_path is None) == (options.replay is None):
        given = "both" if options.replay is not None else "neither"
        raise ConfigError(f"A session needs either a CONFIG file or --replay, but got {given}. Give one.")
    edges: dict[str, Any] = {
        "profile": options.profile,
        "on_start": options.on_start,
        "warm_up_days": options.warm_up_days,
        "bus": options.bus,
    }
    if options.config_path is not None:
        config = load_live_config(options.config_path)
        feed = _given({"start": options.start, "stop": options.stop, "speed": options.speed})
        if config.is_live and feed:
            msg = f"Only a replay has --start, --stop and --speed, but got --{min(feed)} for a live feed."
            raise ConfigError(f"{msg} Leave it out.")
        changed = msgspec.structs.replace(config.feed, **feed)
        edges["analyst"] = analyst_of(options.analyst, options.model, config.analyst)
        return msgspec.structs.replace(config, feed=changed, **_given(edges))
    assert options.replay is not None
    if not options.specs:
        raise ConfigError(
            "A replay needs a strategy, but got none. Give --spec FILE or --spec rsi_reversion."
        )
    traded = instrument(read_manifest(options.replay).instrument)
    strategies = tuple(
        TradedSpec(id=f"A{number}", spec=spec, timeframe=options.timeframe)
        for number, spec in enumerate(options.specs, start=1)
    )
    return LiveConfig(
        account=PaperConfig(account_currency=traded.quote, initial_balance=options.balance),
        strategies=strategies,
        feed=ReplayFeed(
            store=str(options.replay), start=options.start, stop=options.stop, speed=options.speed or 0.0
        ),
        analyst=analyst_of(options.analyst, options.model, None),
        **_given(edges),
    )


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _print(console: Console, file: SessionFile, end: SessionEnd, proofs: list[Proof] | None) -> None:
    what = "at the end of its feed" if end.ended else "stopped; the same command goes on from here"
    account = end.account
    pairs = [
        ("session", f"{end.session}, {what}"),
        ("quotes", f"{end.quotes:,} in {end.seconds:,.1f} s, {end.dropped:,} dropped"),
        ("trades", f"{end.trades:,}"),
        ("balance", f"{account.balance:,.2f} {account.currency}, equity {account.equity:,.2f}"),
    ]
    for name, text in end.broken.items():
        pairs.append((f"{name} stopped", text))
    for one in proofs or []:
        if one.changed:
            said = f"not comparable: changed by {', '.join(one.changed)}"
            pairs.append((f"{one.strategy} as backtested", said))
            continue
        reasons = ", ".join(f"{count:,} {why}" for why, count in sorted(one.why.items()))
        pairs.append(
            (
                f"{one.strategy} as backtested",
                f"{one.same:,} of {one.backtest:,} trades" + (f"; {reasons}" if reasons else ""),
            )
        )
    pairs.append(("folder", str(file.folder)))
    print_pairs(console, pairs)


@command.command("status", epilog="Example: aiopt live status runs/live")
@click.argument("folder", type=PATH)
@json_option
def status_command(folder: Path, as_json: bool) -> None:
    """Show where a session stands, whether it runs or not: cursor, account, positions, orders."""
    from aiopt.live.session.status import status_of

    found = status_of(folder)
    emit(as_json, found, lambda console: _print_status(console, found))


def _print_status(console: Console, found: dict[str, Any]) -> None:
    last = found["last_quote"]
    pairs = [
        ("session", f"{found['session']}, {found['state']}"),
        ("quotes taken", f"{found['taken']:,}"),
        (
            "last quote",
            "none yet" if last is None else f"{minute_text(last['ts_ns'])} {last['bid']} / {last['ask']}",
        ),
        ("feed", _feed_text(found["feed"])),
        *analyst_pairs(found["analyst"]),
        ("balance", f"{found['balance']:,.2f} {found['currency']}"),
        ("trades", f"{found['trades']:,}"),
    ]
    for one in found["positions"]:
        side = "long" if one["side"] > 0 else "short"
        pairs.append((one["strategy"], f"{side} {one['units']:,} from {one['entry_price']}"))
    for one in found["orders"]:
        price = "" if one["price"] is None else f" at {one['price']}"
        pairs.append((f"  {one['order_id']}", f"{one['kind']} {one['units']:,}{price}"))
    for name, text in found["broken"].items():
        pairs.append((f"{name} stopped", text))
    for name, state in found["states"].items():
        how = [state] if state == "paused" else []
        how += ["observes"] if found["modes"][name] == "observe" else []
        if how:
            pairs.append((name, ", ".join(how)))
    if found["kill"] != "armed":
        pairs.append(("kill switch", found["kill"]))
    print_pairs(console, pairs)


def _feed_text(feed: dict[str, Any]) -> str:
    late = feed.get("late_s")
    notes = feed.get("notes") or []
    text = str(feed["kind"]) + ("" if late is None else f", quotes {late:,.0f} s late")
    return text + (f"; {notes[-1]}" if notes else "")


command.add_command(readings_command)
add_control_commands(command)
