"""bi5: decoding Dukascopy's raw hours, LZMA and parsing apart, ours against struct and plain NumPy.

The hours are generated, or real ones where BI5_PATH names a folder of hour files.  Generated ones are
compressed as the provider's are (lc 3, lp 0, pb 2, 4 MiB window); their bytes per tick are a figure, so that
one sees how like the real ones they are (5.35 on 4 February 2019).

Rates per core are ticks per second of processor time, which neighbours on the machine disturb less.  What
threads gain is a ratio of wall times: neighbours take the second core away, so it is a lower bound.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import lzma
import os
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from aiopt.market.instrument import instrument
from aiopt.ticks.sample import SampleParameters, first_state, sample_day
from aiopt.ticks.sources import ReaderOptions, dukascopy
from aiopt.ticks.sources.ahead import ReadAhead
from aiopt.utc import HOUR_NS
from benchmarks._harness import Figure, interleaved, median

EURUSD = instrument("EURUSD")
ROUNDS = 7
TICKS_PER_DAY = 140_000
DAY = 19_850  # 7 May 2024, a Tuesday
TARGET = 10e6
_FILTER = {"id": lzma.FILTER_LZMA1, "lc": 3, "lp": 0, "pb": 2, "dict_size": 4 * 1024 * 1024}
_RECORD = struct.Struct(">3I2f")


def run() -> list[Figure]:
    folder = os.environ.get("BI5_PATH")
    hours = _real(Path(folder)) if folder else _generated()
    raws = list(hours.values())
    datas = [dukascopy._decompress(raw, "bench") for raw in raws]
    ticks = sum(len(data) for data in datas) // dukascopy.TICK_RECORD.itemsize
    _check_equal(hours, datas)
    with tempfile.TemporaryDirectory() as scratch:
        paths = _files(Path(scratch), hours)
        cores = len(os.sched_getaffinity(0))
        times = _processor_times(
            {
                "lzma": lambda: [dukascopy._decompress(raw, "bench") for raw in raws],
                "decode": lambda: [_decode(raw, hour) for hour, raw in hours.items()],
                "parse_ours": lambda: [
                    dukascopy._ticks(data, hour, EURUSD, "bench")
                    for hour, data in zip(hours, datas, strict=True)
                ],
                "parse_struct": lambda: [list(_RECORD.iter_unpack(data)) for data in datas],
                "parse_numpy": lambda: [_plain_numpy(data) for data in datas],
            },
            ROUNDS,
        )
        walls = interleaved(
            {
                "read_one_thread": lambda: _read(paths, threads=1),
                "read_all_cores": lambda: _read(paths, threads=cores),
            },
            ROUNDS,
        )
    rate = {name: ticks / median(values) for name, values in (times | walls).items()}
    print(f"{ticks:,} ticks in {len(raws)} hours, liblzma {_liblzma()}", file=sys.stderr)
    return [
        Figure(name="ticks", value=ticks, unit="ticks"),
        Figure(name="bytes_per_tick", value=round(sum(map(len, raws)) / ticks, 2), unit="B"),
        Figure(name="decode_per_core", value=round(rate["decode"]), unit="ticks/s", target=TARGET),
        Figure(name="lzma_alone_per_core", value=round(rate["lzma"]), unit="ticks/s"),
        Figure(name="lzma_share_of_decode", value=round(rate["decode"] / rate["lzma"], 3), unit=""),
        Figure(name="parse_ours", value=round(rate["parse_ours"]), unit="ticks/s", target=TARGET),
        Figure(name="parse_struct_iter_unpack", value=round(rate["parse_struct"]), unit="ticks/s"),
        Figure(name="parse_plain_numpy", value=round(rate["parse_numpy"]), unit="ticks/s"),
        Figure(
            name="parse_ours_over_struct", value=round(rate["parse_ours"] / rate["parse_struct"], 1), unit="x"
        ),
        Figure(name="read_one_thread", value=round(rate["read_one_thread"]), unit="ticks/s"),
        Figure(name="read_all_cores", value=round(rate["read_all_cores"]), unit="ticks/s"),
        Figure(
            name="read_all_cores_over_one",
            value=round(rate["read_all_cores"] / rate["read_one_thread"], 2),
            unit="x",
        ),
    ]


def _processor_times(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the processor seconds of each way, one per round after one to warm up."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            started = time.process_time()
            way()
            if number:
                times[name].append(time.process_time() - started)
    return times


def _decode(raw: bytes, hour: int) -> int:
    return len(dukascopy.decode_hour(raw, hour, EURUSD, file="bench"))


def _read(paths: list[tuple[Path, int]], *, threads: int) -> int:
    """Read files as the import does."""
    load = ReadAhead(len(paths), lambda number: dukascopy.read_hour(*paths[number], EURUSD), threads=threads)
    return sum(len(load(number)) for number in range(len(paths)))


def _plain_numpy(data: bytes) -> tuple[np.ndarray, ...]:
    """Parse as most scripts do: no check of the stamps, sizes in millions as they are."""
    records = np.frombuffer(data, dtype=dukascopy.TICK_RECORD)
    scale = float(EURUSD.price_scale)
    sizes = (records[name].astype(np.float64) for name in ("bid_size", "ask_size"))
    return records["ms"].astype(np.int64), records["bid"] / scale, records["ask"] / scale, *sizes


def _check_equal(hours: dict[int, bytes], datas: list[bytes]) -> None:
    """Compare the ways value by value: what is timed is the same work."""
    for (hour, raw), data in zip(hours.items(), datas, strict=True):
        ours = dukascopy.decode_hour(raw, hour, EURUSD, file="bench")
        rows = np.array(list(_RECORD.iter_unpack(data)))
        plain = _plain_numpy(data)
        assert np.array_equal(ours.ts_event_ns, hour * HOUR_NS + rows[:, 0].astype(np.int64) * 1_000_000)
        for column, values, other in ((2, ours.bid, plain[1]), (1, ours.ask, plain[2])):
            assert np.array_equal(values, rows[:, column] / 1e5)
            assert np.array_equal(values, other)
        assert np.array_equal(ours.bid_size, np.rint(rows[:, 4] * 1e6))


def _files(folder: Path, hours: dict[int, bytes]) -> list[tuple[Path, int]]:
    """Write the hours as files and list them as the import would."""
    for hour, raw in hours.items():
        moment = np.datetime64(hour, "h").astype(object)
        path = folder / "EURUSD" / f"{moment:%Y}/{moment.month - 1:02}/{moment:%d}/{moment:%H}h_ticks.bi5"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
    source = dukascopy.open_source(folder, sorted(folder.rglob("*.bi5")), EURUSD, ReaderOptions())
    ordered = [(path, dukascopy.hour_of(path)) for path in source.files]
    return [(path, hour) for path, hour in ordered if hour is not None]


def _real(folder: Path) -> dict[int, bytes]:
    found = {dukascopy.hour_of(path): path.read_bytes() for path in sorted(folder.rglob("*h_ticks.bi5"))}
    return {hour: raw for hour, raw in sorted((h, r) for h, r in found.items() if h is not None) if raw}


def _generated() -> dict[int, bytes]:
    return dict(_hours())


def _hours() -> Iterator[tuple[int, bytes]]:
    parameters = SampleParameters(
        instrument="EURUSD", start="2024-05-07", days=1, ticks_per_day=TICKS_PER_DAY, seed=7
    )
    day = sample_day(parameters, DAY, first_state(parameters))
    hour = day.ts_event_ns // HOUR_NS
    for number in np.unique(hour).tolist():
        ticks = day.take(hour == number)
        records = np.zeros(len(ticks), dtype=dukascopy.TICK_RECORD)
        records["ms"] = (ticks.ts_event_ns - number * HOUR_NS) // 1_000_000
        for name in ("bid", "ask"):
            records[name] = np.rint(getattr(ticks, name) * EURUSD.price_scale)
            records[f"{name}_size"] = getattr(ticks, f"{name}_size") / 1e6
        yield number, lzma.compress(records.tobytes(), format=lzma.FORMAT_ALONE, filters=[_FILTER])


def _liblzma() -> str:
    try:
        library = ctypes.CDLL(ctypes.util.find_library("lzma") or "liblzma.so.5")
        library.lzma_version_string.restype = ctypes.c_char_p
        return str(library.lzma_version_string().decode())
    except (OSError, AttributeError):
        return "unknown"
