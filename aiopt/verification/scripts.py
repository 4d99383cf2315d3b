"""Which script and which strategy a name leads to: a spec, a file of ours, the entries of a run.

Owns that choice and what a script says of itself (account, spec, chart).  Knows nothing of how they are
compared.
"""

from __future__ import annotations

import re
from pathlib import Path

from aiopt.bars.files import load_bar_set
from aiopt.bars.schema import BarSet
from aiopt.errors import ConfigError, did_you_mean
from aiopt.market.instrument import Instrument
from aiopt.pine.emitter import emit, refuse_readings
from aiopt.pine.importing.importing import import_script
from aiopt.pine.made_from import read_made_from
from aiopt.pine.parsing.parser import parse_script
from aiopt.pine.parsing.script_file import read_script_file
from aiopt.pine.provenance import Provenance
from aiopt.runs import BARS, PINE, is_run, load_run
from aiopt.strategy.choosing import find_strategy
from aiopt.strategy.spec import StrategySpec, load_spec
from aiopt.strategy.spec_readings import gate_of
from aiopt.verification.verifying import ScriptTask

SUFFIX = ".pine"

_SPEC_HASH = re.compile(r"^// spec: sha256 ([0-9a-f]{64})", re.MULTILINE)
_CHART = re.compile(r"^// chart: (\w+), ", re.MULTILINE)
_CAPITAL = re.compile(r"\binitial_capital\s*=\s*([0-9]+(?:\.[0-9]+)?)")
_LEVERAGE = re.compile(r"\bleverageInput\s*=\s*input\.float\(\s*([0-9]+(?:\.[0-9]+)?)")


def task_of_spec(
    name: str,
    params: tuple[str, ...],
    bars: BarSet,
    *,
    version: int = 6,
    initial_balance: float = 100_000.0,
    leverage: float = 30.0,
) -> ScriptTask:
    """Return the task of a strategy file or ready family, whose script is written now.

    Raises
    ------
    SpecError, ConfigError
        As `find_strategy` and `emit`.
    """
    spec, _ = find_strategy(name, params)
    script = emit(
        spec,
        provenance=Provenance(),
        instrument=bars.instrument,
        version=version,
        initial_balance=initial_balance,
        leverage=leverage,
    )
    return ScriptTask(spec.name, spec, script, bars, initial_balance, leverage)


def task_of_file(path: Path, bars: BarSet, spec_path: Path | None = None) -> ScriptTask:
    """Return the task of a script: with the spec beside it, or the one given.

    Parameters
    ----------
    path : Path
        ``NAME.pine``.
    bars : BarSet
        To run it on.
    spec_path : Path, optional
        The strategy it should trade as; by default ``NAME.json`` beside it, else the one that its last
        comments state.

    Raises
    ------
    ConfigError
        If the script or its spec cannot be found, they do not belong together, the script cannot be read, or
        the bars are of another instrument than the script's.
    """
    script = read_script_file(path)
    errors = parse_script(script).errors
    if errors:
        raise ConfigError(f"{path} cannot be read: {errors[0]}. `aiopt pine check` lists all its errors.")
    spec = _spec_of(path, script, spec_path, bars.instrument)
    refuse_readings(spec)
    symbol = _CHART.search(script)
    if symbol is not None and symbol[1] != bars.instrument.symbol:
        msg = f"{path} was written for {symbol[1]}, but the bars are of {bars.instrument.symbol}. "
        raise ConfigError(msg + f"Give bars of {symbol[1]}: its pips and ticks are other ones.")
    return _task(path.stem, spec, script, bars)


def tasks_of_run(run_dir: Path, bars: BarSet | None, entry: str | None, last: int | None) -> list[ScriptTask]:
    """Return the tasks of a run's entries, on the run's own bars or on others.

    Parameters
    ----------
    run_dir : Path
        The run folder.
    bars : BarSet, optional
        Instead of the run's own bars.
    entry : str, optional
        Only this one.
    last : int, optional
        Take that many bars from the end.

    Raises
    ------
    ConfigError
        If the run has no such entry, or none at all.
    """
    run = load_run(run_dir)
    names = [one.name for one in run.entries]
    if not names:
        raise ConfigError(f"{run_dir} has no entries, so there is no script to verify. See its report.")
    if entry is not None and entry not in names:
        raise ConfigError(f"{run_dir} has no entry {entry!r}.{did_you_mean(entry, names)}")
    loaded: dict[Path, BarSet] = {}
    tasks = []
    for name in [entry] if entry is not None else names:
        path = run_dir / PINE / f"{name}{SUFFIX}"
        if not path.is_file():
            spec_path = path.with_suffix(".json")
            spec = load_spec(spec_path) if spec_path.is_file() else None
            if spec is not None and gate_of(spec) is not None:
                if entry is not None:
                    refuse_readings(spec)
                continue  # it has no script, and the run says why
            raise ConfigError(f"{path} is missing, so it cannot be verified. Finish or repeat the run.")
        where = run_dir / BARS
        document = run.read_mapping(f"{PINE}/{name}.trades.json")
        if document is not None and "bars" in document:
            where = (run_dir / str(document["bars"])).parent
        chosen = bars
        if chosen is None:
            if where not in loaded:
                loaded[where] = last_bars(load_bar_set(where), last)
            chosen = loaded[where]
        tasks.append(task_of_file(path, chosen))
    if not tasks:
        msg = (
            f"{run_dir} has no script to verify: all its entries ask for readings, which no script can know."
        )
        raise ConfigError(f"{msg} `aiopt pine emit --without-readings` writes one without them.")
    return tasks


def last_bars(bars: BarSet, count: int | None) -> BarSet:
    """Return the last bars, all of them where no number is given."""
    return bars if count is None or count >= len(bars) else bars.slice(len(bars) - count, len(bars))


def is_run_folder(path: Path) -> bool:
    """Return whether a path is a folder that `aiopt optimize` wrote."""
    return path.is_dir() and is_run(path)


def _spec_of(path: Path, script: str, spec_path: Path | None, instrument: Instrument) -> StrategySpec:
    beside = path.with_suffix(".json")
    chosen = spec_path if spec_path is not None else beside
    if not chosen.is_file():
        if spec_path is not None:
            raise ConfigError(f"There is no strategy file {spec_path}. Check --spec.")
        made = read_made_from(script)
        if made is not None:
            imported = import_script(script, instrument=instrument)
            # Where a statement was changed, the comparison shows what that does.
            written = imported.spec if imported.is_rewritten else None
            return made.strategy() if written is None else written
        msg = (
            f"{path} has no strategy to compare it with: there is no {beside.name} beside it, and its last "
            "comments state none. Give the spec it should trade as: --spec FILE; a script that aiopt did not "
            "write has none, and can be checked (`aiopt pine check`), not verified."
        )
        raise ConfigError(msg)
    spec = load_spec(chosen)
    stated = _SPEC_HASH.search(script)
    if stated is not None and stated[1] != spec.spec_hash:
        msg = (
            f"{path} says it was made from spec {stated[1][:12]}, but {chosen} is {spec.spec_hash[:12]}. "
            "One of them was changed. Emit the script again (`aiopt pine emit`), or give its --spec."
        )
        raise ConfigError(msg)
    return spec


def _task(name: str, spec: StrategySpec, script: str, bars: BarSet) -> ScriptTask:
    capital, leverage = _CAPITAL.search(script), _LEVERAGE.search(script)
    return ScriptTask(
        name,
        spec,
        script,
        bars,
        initial_balance=100_000.0 if capital is None else float(capital[1]),
        leverage=30.0 if leverage is None else float(leverage[1]),
    )
