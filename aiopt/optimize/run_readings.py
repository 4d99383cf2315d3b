"""The readings of a run whose strategies ask for some: opened, laid over its bars, kept in its folder.

Owns what such a run refuses and what it says of scripts, which cannot know readings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aiopt.analyst.scans import load_reading_log, with_readings
from aiopt.bars.reading_log import ReadingLog
from aiopt.bars.schema import BarSet
from aiopt.errors import ConfigError, DataError
from aiopt.files import atomic_write_bytes
from aiopt.optimize.configuration import OptimizeConfig
from aiopt.runs import READINGS
from aiopt.strategy.reading_gate import need_readings
from aiopt.strategy.spec import StrategySpec
from aiopt.strategy.spec_readings import gate_of


def open_readings(config: OptimizeConfig, specs: Sequence[StrategySpec]) -> ReadingLog | None:
    """Return the readings of a run; None where no strategy asks for any.

    Raises
    ------
    SpecError
        If a strategy asks for readings and the configuration names none.
    ConfigError
        If it names some and no strategy asks.
    DataError
        If they cannot be read, or are of another instrument.
    """
    asking = [spec for spec in specs if gate_of(spec) is not None]
    if config.readings is None:
        if asking:
            raise need_readings(asking[0])
        return None
    if not asking:
        msg = f"readings={config.readings} was given, but no strategy of the run asks for readings. "
        raise ConfigError(f"{msg}Leave it out (--readings), or add `readings:` to a strategy.")
    log = load_reading_log(Path(config.readings), latency_s=config.reading_latency_s)
    if log.instrument != config.instrument:
        msg = f"Readings must be of the run's instrument {config.instrument}, but are of {log.instrument}. "
        raise DataError(f"{msg}Give a scan of {config.instrument}.", file=Path(config.readings))
    return log


def lay_over(bars: Mapping[str, BarSet], config: OptimizeConfig, run_dir: Path) -> dict[str, BarSet]:
    """Return a run's bars with its readings, and keep the readings' file in the run folder.

    Raises
    ------
    DataError
        If they were read of other prices.
    """
    if config.readings is None:
        return dict(bars)
    path = Path(config.readings)
    found = {}
    for series, one in bars.items():
        found[series] = with_readings(one, path, latency_s=config.reading_latency_s)
    file = path / READINGS if path.is_dir() else path
    atomic_write_bytes(run_dir / READINGS, file.read_bytes())
    return found


def kept_readings(bars: BarSet, config: Mapping[str, Any], run_dir: Path) -> BarSet:
    """Return bars with the readings that a run folder keeps; the same ones where it keeps none.

    Parameters
    ----------
    bars : BarSet
        Of the run.
    config : mapping
        Its ``config.json``.
    run_dir : Path
        The run folder.

    Raises
    ------
    DataError
        If the file is missing, damaged, or not the one of the run.
    """
    kept = config.get("readings")
    if not kept:
        return bars
    path = run_dir / READINGS
    found = with_readings(bars, path, latency_s=kept["latency_s"])
    assert found.readings is not None
    if found.readings.log_hash != kept["hash"]:
        msg = f"the readings must be those of the run, but their hash is {found.readings.log_hash[:12]}, not "
        raise DataError(f"{msg}{kept['hash'][:12]}. Repeat the run.", file=path)
    return found


def without_scripts(specs: Sequence[tuple[str, StrategySpec]]) -> str:
    """Return why some strategies get no script, as a sentence; empty where all get one.

    Parameters
    ----------
    specs : sequence of (str, StrategySpec)
        Names and strategies.
    """
    names = [name for name, spec in specs if gate_of(spec) is not None]
    if not names:
        return ""
    return (
        f"no script of {', '.join(names)} will be written: a Pine Script cannot know what a model read; "
        "`aiopt pine emit --without-readings` writes the strategy without its gate"
    )
