"""Hours as the provider sent them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from aiopt.ticks.download.feed import bi5_path
from aiopt.ticks.importing import import_ticks
from aiopt.ticks.sources import dukascopy_json
from aiopt.utc import HOUR_NS, hour_number, hour_text
from tests.unit.ticks.download.faulty_server import (
    Client,
    Server,
    answer,
    garbage,
    keys,
    refuse,
    reset,
    truncate,
)


def test_real_hours_survive_a_misbehaving_server(
    shared_data: Path, download: Client, server: Server, tmp_path: Path
) -> None:
    tree = shared_data / "dukascopy"
    day = hour_number("2019-02-04T00")
    span = (day + 5, day + 8)
    for hour in range(span[0], span[1] + 1):
        path = tree / "EURUSD" / f"{bi5_path(hour)}.bi5"
        server.bodies[f"bi5:{hour_text(hour)}"] = path.read_bytes()
    faults = [refuse(503, Retry_After="0"), truncate, reset, garbage]
    for key, fault in zip(keys("bi5", span), faults, strict=True):
        server.script[key] = [fault, answer]
    report = download("bi5", span=span)
    assert report.ok
    for hour in range(span[0], span[1] + 1):
        target = tmp_path / "plain" / "EURUSD" / f"{bi5_path(hour)}.bi5"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(server.bodies[f"bi5:{hour_text(hour)}"])
    plain = import_ticks(tmp_path / "plain", tmp_path / "plain-store")
    assert report.manifest is not None
    assert report.manifest.data_hash == plain.data_hash


def test_the_real_json_answer_decodes_exactly(shared_data: Path, download: Client, server: Server) -> None:
    path = shared_data / "dukascopy" / "json_api" / "ticks-EUR-USD-2026-7-13-12.json"
    hour = hour_number("2026-07-13T12")
    found, ticks = dukascopy_json.decode(path.read_bytes(), file=path)
    assert (found, len(ticks)) == (hour, 3551)
    assert (ticks.bid[0], ticks.ask[0]) == (1.14273, 1.14277)
    assert (ticks.bid[1], ticks.ask[1]) == (1.14271, 1.14275)
    assert ticks.ts_event_ns[0] == hour * HOUR_NS + 93_000_000
    assert (ticks.ask > ticks.bid).all()
    server.bodies[f"json:{hour_text(hour)}"] = path.read_bytes()
    report = download("json", span=(hour, hour), now=dt.datetime(2026, 8, 1, tzinfo=dt.UTC))
    assert report.manifest is not None
    assert report.manifest.rows_read == 3551
