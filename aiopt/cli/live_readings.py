"""``aiopt live readings``, and who reads in ``aiopt live run``.  Owns flags and what is printed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from aiopt.cli.options import PATH, OutFile, json_option
from aiopt.cli.output import emit, print_pairs
from aiopt.errors import ConfigError
from aiopt.outputs import READINGS

if TYPE_CHECKING:
    from rich.console import Console

    from aiopt.live.reading.analyst_config import LiveAnalyst
    from aiopt.live.reading.live_reader import LoggedReading


def analyst_of(who: str | None, model: str | None, given: LiveAnalyst | None) -> LiveAnalyst | None:
    """Return the analyst of a session.

    Parameters
    ----------
    who : str or None
        ``"rules"``, or the URL of an endpoint; None: as the configuration has it.
    model : str or None
        Served name.
    given : LiveAnalyst or None
        Of the configuration.

    Raises
    ------
    ConfigError
        If a model is named and no endpoint is.
    """
    from aiopt.live.reading.analyst_config import LiveAnalyst

    known = given or LiveAnalyst()
    endpoint = known.settings.endpoint if who in (None, "rules") else who
    if model is not None and (who == "rules" or endpoint is None):
        msg = f"A model reads through an endpoint, but --model {model} was given without one."
        raise ConfigError(f"{msg} Add --analyst URL, e.g. --analyst http://127.0.0.1:8000/v1.")
    if who is None and model is None:
        return given
    models = known.settings.models if model is None else (model,)
    settings = msgspec.structs.replace(known.settings, endpoint=endpoint, models=models)
    reader = "rules" if who == "rules" else "model"
    return msgspec.structs.replace(known, reader=reader, settings=settings)


def analyst_pairs(found: dict[str, Any] | None) -> list[tuple[str, str]]:
    """Return what a session's status says of its analyst, as names and values; nothing where nobody reads."""
    if found is None:
        return []
    under_way = f", {found['under_way']:,} under way" if found["under_way"] else ""
    return [("analyst", f"{found['model'] or 'rules'}, {found['charts']:,} charts{under_way}")]


@click.command("readings", epilog="Example: aiopt live readings runs/live")
@click.argument("folder", type=PATH)
@click.option("--out", type=OutFile(READINGS), help="Write them, as a scan does, with the features beside.")
@json_option
def readings_command(folder: Path, out: Path | None, as_json: bool) -> None:
    """Count what the analyst of a session read, and who it was, while the session runs or afterwards.

    A session that has ended, or was left, has the same readings in FOLDER/readings.parquet.
    """
    from aiopt.live.reading.readings_file import write_readings
    from aiopt.live.session.session_record import read_record

    record = read_record(folder)
    if out is not None:
        write_readings(out, record.readings)
    found = {"session": record.session, **_counted(record.readings)}
    emit(as_json, found, lambda console: _print(console, found, out))


def _counted(rows: list[LoggedReading]) -> dict[str, Any]:
    read = [one for one in rows if not one.reading.failure]
    took = sorted(one.took_s for one in read)
    names = Counter(f"{one.reading.model_id} {one.reading.model_revision}".strip() for one in read)
    return {
        "charts": len(rows),
        "readings": len(read),
        "by": dict(sorted(names.items())),
        "stood_in": sum(bool(one.reading.error) for one in read),
        "without": dict(sorted(Counter(one.reading.failure for one in rows if one.reading.failure).items())),
        "biases": dict(sorted(Counter(str(one.reading.bias) for one in read).items())),
        "median_s": took[len(took) // 2] if took else None,
        "longest_s": took[-1] if took else None,
    }


def _print(console: Console, found: dict[str, Any], out: Path | None) -> None:
    def shares(counts: dict[str, int]) -> str:
        return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "none"

    pairs = [
        ("session", found["session"]),
        ("charts", f"{found['charts']:,}"),
        ("readings", f"{found['readings']:,}: {shares(found['biases'])}"),
        ("by", shares(found["by"])),
        ("stood in", f"{found['stood_in']:,} by rules, where the model gave none"),
        ("no reading", shares(found["without"])),
    ]
    if found["median_s"] is not None:
        pairs.append(("took", f"{found['median_s']:.3g} s, longest {found['longest_s']:.3g} s"))
    if out is not None:
        pairs.append(("file", str(out)))
    print_pairs(console, pairs)
