"""`aiopt optimize`: start or find the cluster, submit the job, stream its log, pass on its exit code.

Knows options, wording and the result document of the job; what the job does is `cluster.optimize`.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

import click

from aiopt.cli.options import json_option
from aiopt.errors import EXIT_INTERRUPTED, EXIT_TERMINATED
from aiopt.ledger import ledger_folder
from aiopt.ledger.ledger import FOLDER_VARIABLE
from aiopt.market.instrument_file import worker_environment
from aiopt.optimize.configuration import (
    ENVIRONMENT_PREFIX,
    OptimizeConfig,
    anchored,
    environment_settings,
    layered,
    load_optimize_config,
    load_strategies,
)
from aiopt.optimize.market_config import parse_market
from aiopt.optimize.preflight import check_run
from aiopt.search.settings import SAMPLERS
from aiopt.verification import engine_folder as engine_places
from cluster import job_access, lifecycle
from cluster.cli.node import resource_options, state_dir_option
from cluster.resources import node_resources
from cluster.submit import Job, job_script, runtime_environment


@click.command(epilog="Example: aiopt optimize jobs/optimize.yaml --ticks data/ticks/EURUSD --trials 100")
@click.argument("config", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--ticks", type=click.Path(path_type=Path), help="Store, Parquet folder, bi5 tree, zips or CSV."
)
@click.option(
    "--bars",
    "bars",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Bars instead of ticks: bar files, or a provider's minute or hour bars; may be repeated.",
)
@click.option(
    "--ask-bars",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Ask bars, if --bars are bid bars; may be repeated.",
)
@click.option("--bars-price", help="Which price one-sided bars hold, if they do not say: bid, ask or mid.")
@click.option("--spread-pips", type=float, help="Spread of one-sided bars: the same for all, in pips.")
@click.option(
    "--spread-file",
    type=click.Path(path_type=Path),
    help="Spread of one-sided bars by hour: a table of `aiopt ticks spread-model`.",
)
@click.option(
    "--extra-spread-pips",
    type=float,
    help="Widen the spread of ticks or bars: raise every ask by that many pips.",
)
@click.option(
    "--screen/--no-screen",
    default=None,
    help="Run trials in compiled code and let the engine confirm what is chosen (the default), or all in the "
    "engine.",
)
@click.option("--commission", type=float, help="Quote currency per million traded, each side.")
@click.option("--timezone", help="Clock of the bars' times, if not the format's own: UTC, +02:00, NY+7.")
@click.option("--time-format", help="How the times of a table of bars are written, e.g. '%d/%m/%Y %H:%M'.")
@click.option(
    "--map",
    "column_map",
    metavar="ts=NAME,open=NAME,…",
    help="Names the columns of a table of bars that are not recognised, as for `aiopt bars import`.",
)
@click.option(
    "--keep-clock", is_flag=True, default=None, help="Use the bars' clock even if the FX week contradicts it."
)
@click.option("--drop-bad", is_flag=True, default=None, help="Leave out impossible bars and count them.")
@click.option("--instrument", help="Symbol, e.g. EURUSD.")
@click.option(
    "--market",
    "markets",
    multiple=True,
    metavar="SYMBOL,KEY=PATH,…",
    help="One of several markets in one ranking, with its data, e.g. EURUSD,bars=PATH; repeated for each. "
    "Keys: ticks, bars, ask-bars, conversion, spread-pips, commission, extra-spread-pips.",
)
@click.option(
    "--account-currency", help="Currency of balance, profit and costs. Default: the quote currency."
)
@click.option(
    "--conversion",
    type=click.Path(path_type=Path),
    help="Bars that convert quote to account currency, e.g. USDJPY for GBPJPY in USD.",
)
@click.option(
    "--readings",
    type=click.Path(path_type=Path),
    help="A scan's folder or readings.parquet (`aiopt analyst scan`), for strategies with `readings:`.",
)
@click.option(
    "--reading-latency",
    "reading_latency_s",
    type=click.FloatRange(0),
    help="Seconds from a chart's end to its reading. Default: those the scan took for each.",
)
@click.option(
    "--runs-dir", type=click.Path(path_type=Path, file_okay=False), default="runs", show_default=True
)
@click.option("--run-id", help="Name of the run folder. Default: NAME-HASH of configuration and data.")
@click.option("--name", help="First part of the run folder's name.")
@click.option("--timeframes", help="Comma-separated, e.g. 1m,5m.")
@click.option("--strategies", help="Comma-separated families or YAML files.")
@click.option(
    "--trials", type=int, help="Points per strategy and timeframe; where --sampler learns, per fold."
)
@click.option(
    "--sampler",
    type=click.Choice(SAMPLERS),
    help="How points are drawn; those from tpe on learn, anew on every fold's train window. Default: sobol.",
)
@click.option(
    "--objectives", help="What a sampler that learns seeks, comma-separated, e.g. sharpe or return,drawdown."
)
@click.option(
    "--warm-start", type=click.Path(path_type=Path), help="Older run whose best points begin each search."
)
@click.option(
    "--folds", type=int, help="Train windows of the walk-forward, each with a test segment. Default: 4."
)
@click.option("--train-segments", type=int, help="Length of a train window in segments. Default: 3.")
@click.option(
    "--anchored/--rolling",
    default=None,
    help="Train windows that start with the first segment and grow, or that move on (the default).",
)
@click.option("--purge", help="Length of time left out at the end of every train window, e.g. 4h.")
@click.option(
    "--embargo",
    help="Length of time left out at the start of every test segment and of the holdout, e.g. 1d.",
)
@click.option("--seed", type=int, help="Seed of the sampled points.")
@click.option("--top", type=int, help="Entries to emit.")
@click.option("--force", is_flag=True, help="Delete a run folder that is in the way and start over.")
@click.option(
    "--address", help="Jobs API of another cluster, http://HOST:PORT. Default: RAY_API_SERVER_ADDRESS."
)
@state_dir_option
@resource_options
@json_option
def command(
    config: Path,
    runs_dir: Path,
    run_id: str | None,
    force: bool,
    address: str | None,
    state_dir: Path | None,
    as_json: bool,
    num_cpus: int | None,
    num_gpus: int | None,
    memory_gib: float | None,
    object_store_gib: float | None,
    **settings: Any,
) -> int:
    """Sweep strategies over ticks or bars, rank them out of sample and emit Pine Script, on a Ray cluster.

    Starts a local cluster if none runs.  A run that was interrupted continues where it stopped; a finished
    one prints its result again.  Ctrl-C stops the job; SIGTERM leaves it running and says how to find it.
    """
    # The environment's paths count from here, and the job runs elsewhere: it gets all of them as overrides.
    overrides = layered(environment_settings(), _overrides(settings))
    # What is wrong with the input is found here, before a cluster starts.
    settings_of_run = load_optimize_config(config, overrides)
    check_run(
        settings_of_run,
        load_strategies(settings_of_run),
        runs_dir,
        log=lambda text: click.echo(text, err=True),
    )
    fixed = {
        "num_cpus": num_cpus,
        "num_gpus": num_gpus,
        "memory_gib": memory_gib,
        "object_store_gib": object_store_gib,
    }
    job = _connect(address, lifecycle.state_dir(state_dir), fixed)
    job_id = f"aiopt-optimize-{secrets.token_hex(4)}"
    runs_dir = runs_dir.resolve()
    result_path = runs_dir / ".jobs" / f"{job_id}.json"
    root, script = job_script("optimize.py")
    arguments = ["--config", str(config.resolve()), "--runs-dir", str(runs_dir), "--result", str(result_path)]
    if overrides:
        arguments += ["--overrides", json.dumps(overrides)]
    if run_id is not None:
        arguments += ["--run-id", run_id]
    if force:
        arguments += ["--force"]
    job.submit(
        ["python", script, *arguments],
        job_id=job_id,
        environment=runtime_environment(root, forwarded_variables(settings_of_run)),
        metadata={"name": "aiopt optimize", "config": str(config), "runs_dir": str(runs_dir)},
    )
    code = job.follow(lambda text: click.echo(text, nl=False, err=as_json))
    if code == EXIT_TERMINATED:
        if as_json:
            click.echo(json.dumps(_left_running(job.job_id)))
        return code
    result = _take_result(result_path)
    if code == EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    if as_json:
        click.echo(json.dumps(result if result is not None else _no_result(code)))
    return code


_NESTED = {
    "top": ("ranking", "top"),
    "account_currency": ("backtest", "account_currency"),
    "commission": ("backtest", "commission_per_million"),
    "extra_spread_pips": ("backtest", "extra_spread_pips"),
    "bars_price": ("bar_reading", "price"),
    "timezone": ("bar_reading", "timezone"),
    "time_format": ("bar_reading", "time_format"),
    "column_map": ("bar_reading", "columns"),
    "keep_clock": ("bar_reading", "keep_clock"),
    "drop_bad": ("bar_reading", "drop_bad"),
    "spread_pips": ("spread", "pips"),
    "spread_file": ("spread", "file"),
    "objectives": ("search", "objectives"),
    "warm_start": ("search", "warm_start"),
    "folds": ("walk_forward", "folds"),
    "train_segments": ("walk_forward", "train_segments"),
    "anchored": ("walk_forward", "anchored"),
    "purge": ("walk_forward", "purge"),
    "embargo": ("walk_forward", "embargo"),
}
"""Flags of settings that are nested in the configuration."""


def _overrides(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that flags gave, as the configuration spells them."""
    given: dict[str, Any] = {
        name: str(value) if isinstance(value, Path) else value for name, value in settings.items()
    }
    given = {name: value for name, value in given.items() if value is not None and value != ()}
    for name in ("bars", "ask_bars"):
        if name in given:
            given[name] = [str(path) for path in given[name]]
    if "markets" in given:
        given["markets"] = [parse_market(text) for text in given["markets"]]
    if "column_map" in given:
        from aiopt.ticks.sources import parse_columns

        given["column_map"] = parse_columns(given["column_map"])
    if "objectives" in given:
        given["objectives"] = [part.strip() for part in given["objectives"].split(",") if part.strip()]
    for name, (group, key) in _NESTED.items():
        if name in given:
            given[group] = {**given.get(group, {}), key: given.pop(name)}
    for name in ("timeframes", "strategies"):
        if name in given:
            given[name] = [part.strip() for part in given[name].split(",") if part.strip()]
    return anchored(given, Path())


def _connect(address: str | None, folder: Path, fixed: dict[str, Any]) -> Job:
    """Reach the Jobs API given, else the one of this project's cluster, started if need be."""
    given = job_access.given_address(address)
    if given is not None:
        token = job_access.environment_token()
        job_access.check_answers(given, token)
        return Job(given, job_access.authorization(token))
    state, started = lifecycle.up(folder, node_resources(**fixed))
    click.echo(f"Ray head {'started' if started else 'reused'}: dashboard {state.dashboard_url}", err=True)
    return Job(state.dashboard_url, job_access.authorization(lifecycle.read_token(folder)))


def forwarded_variables(config: OptimizeConfig) -> dict[str, str]:
    """Return what the job needs of the caller: settings, instruments, ledger, Pine engine, a token.

    The token goes along only where an endpoint is to be asked; it is then part of the job's runtime
    environment, which whoever may read jobs of the cluster can see.
    """
    found = {name: value for name, value in os.environ.items() if name.startswith(ENVIRONMENT_PREFIX + "__")}
    found |= worker_environment()
    # The job's home may be another: it counts in the caller's ledger.
    found[FOLDER_VARIABLE] = str(ledger_folder())
    # Its scripts are verified in the caller's Pine engine.
    found[engine_places.FOLDER_VARIABLE] = str(engine_places.engine_folder())
    reader = config.analysis.reader
    if reader.endpoint is not None and reader.token_variable in os.environ:
        found[reader.token_variable] = os.environ[reader.token_variable]
    return found


def _take_result(path: Path) -> dict[str, Any] | None:
    """Read and remove the document the job left; None if it left none."""
    if not path.is_file():
        return None
    document: dict[str, Any] = json.loads(path.read_bytes())
    path.unlink()
    return document


def _left_running(job_id: str) -> dict[str, Any]:
    message = f"terminated; the job {job_id} runs on"
    return {"error": {"type": "Terminated", "message": message, "exit_code": EXIT_TERMINATED}}


def _no_result(code: int) -> dict[str, Any]:
    message = "the job ended without a result; its log says why"
    return {"error": {"type": "ClusterError", "message": message, "exit_code": code}}
