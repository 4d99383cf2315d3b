"""Files of ticks as people have them: other encodings, gzip, JSON, decimal commas, MetaTrader's package."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.cli.ticks import command
from aiopt.errors import DataError
from aiopt.market.instrument import instrument
from aiopt.ticks.importing import import_ticks
from aiopt.ticks.schema import TickArrays
from aiopt.ticks.sources import ReaderOptions, open_source
from aiopt.ticks.sources.zipped import read_text

EURUSD = instrument("EURUSD")
MS = 1_000_000
FIRST_MS = 1_549_360_800_991
STAMPS = [FIRST_MS + 830 * number for number in range(12)]
ROWS = [
    (ms, round(1.13999 - number * 1e-5, 5), round(1.14007 - number * 1e-5, 5))
    for number, ms in enumerate(STAMPS)
]
TABLE = "time,bid,ask\n" + "".join(f"{ms},{bid},{ask}\n" for ms, bid, ask in ROWS)


def read(path: Path, **options: object) -> TickArrays:
    source = open_source(path, EURUSD, options=ReaderOptions(**options))  # type: ignore[arg-type]
    parts = [batch.ticks for number in range(len(source.files)) for batch in source.read(number)]
    return TickArrays(
        *(
            np.concatenate(columns)
            for columns in zip(*(list(dict(part.columns()).values()) for part in parts), strict=True)
        )
    )


def stamps(path: Path, **options: object) -> list[int]:
    return (read(path, **options).ts_event_ns // MS).tolist()


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (b"", "utf-8"),
        (b"\xef\xbb\xbf", "utf-8"),
        (b"\xff\xfe", "utf-16-le"),
        (b"\xfe\xff", "utf-16-be"),
        (b"", "utf-16-le"),
        (b"", "utf-16-be"),
        (b"\xff\xfe\x00\x00", "utf-32-le"),
    ],
)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_every_encoding_gives_the_same_ticks(
    tmp_path: Path, mark: bytes, encoding: str, packed: bool
) -> None:
    data = mark + TABLE.encode(encoding)
    path = tmp_path / ("ticks.csv.gz" if packed else "ticks.csv")
    path.write_bytes(gzip.compress(data) if packed else data)
    assert stamps(path) == STAMPS


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        (
            "ticks.csv",
            b"\xff\xfe" + TABLE.encode("utf-16-le")[:-1],
            r"begins as text in UTF-16-LE, but does not go on so: truncated",
        ),
        ("ticks.csv.gz", gzip.compress(TABLE.encode(), mtime=0)[:60], "This gzip archive is damaged"),
        ("ticks.csv", b"\xff\xfe", "This file is empty"),
    ],
)
def test_damaged_text_is_an_error_that_names_the_file(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(DataError, match=message) as caught:
        import_ticks(path, tmp_path / "store")
    assert caught.value.file == path
    assert not (tmp_path / "store").exists()


def test_text_longer_than_a_piece_is_recoded_whole(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    text = "äöü€," * 400_000
    path.write_bytes(text.encode("utf-16"))
    assert read_text(path) == text.encode()


@settings(max_examples=80, deadline=None)
@given(
    data=st.binary(max_size=300) | st.text(max_size=120).map(lambda text: ("time,bid,ask\n" + text).encode())
)
def test_whatever_a_file_holds_it_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("any") / "ticks.csv"
    path.write_bytes(data)
    named = True
    try:
        source = open_source(path, EURUSD)
        for batch in source.read(0):
            assert batch.ticks.ts_event_ns.dtype == np.int64
    except DataError as refusal:
        named = refusal.file is not None
    assert named


def test_lists_of_objects_in_json_are_ticks(tmp_path: Path) -> None:
    keys = ("timestamp", "askPrice", "bidPrice", "askVolume", "bidVolume")
    rows = [dict(zip(keys, (ms, ask, bid, 1.5, 0.75), strict=True)) for ms, bid, ask in ROWS]
    path = tmp_path / "eurusd-tick.json"
    path.write_text(json.dumps(rows))
    manifest = import_ticks(path, tmp_path / "store")
    assert (manifest.source_format, manifest.rows) == ("json", 12)
    assert manifest.first_ts_ns == FIRST_MS * MS
    assert any("Sizes were read as millions of EUR" in note for note in manifest.notes)
    ticks = read(path)
    assert (ticks.ask_size[0], ticks.bid_size[0], ticks.bid[0]) == (1_500_000.0, 750_000.0, 1.13999)
    assert read(path, size_unit=1e3).ask_size[0] == 1_500.0
    path.write_text(json.dumps(rows)[:-9])
    with pytest.raises(DataError, match="no whole JSON list of objects"):
        read(path)


def test_decimal_commas_are_read_where_no_point_says_otherwise(tmp_path: Path) -> None:
    lines = [
        f"05.02.2019 10:00:{number:02d},5;{str(bid).replace('.', ',')};{str(ask).replace('.', ',')}"
        for number, (_, bid, ask) in enumerate(ROWS)
    ]
    path = tmp_path / "ticks.csv"
    path.write_text("Gmt time;Bid;Ask\n" + "\n".join(lines) + "\n")
    ticks = read(path)
    assert ticks.bid.tolist() == [bid for _, bid, _ in ROWS]
    assert ticks.ts_event_ns[0] == 1_549_360_800_500 * MS
    path.write_text('time;bid;ask;bid_size\n1549360800991;1.13999;1.14007;"1,500"\n')
    with pytest.raises(DataError, match="'bid_size' must hold a number, but got '1,500'"):
        read(path)


def test_milliseconds_of_metatraders_package_beat_its_seconds_on_the_brokers_clock(tmp_path: Path) -> None:
    lines = [f"{ms // 1000},{bid},{ask},0.0,0,{ms},134,0.0" for ms, bid, ask in ROWS]
    path = tmp_path / "ticks.csv"
    path.write_text("time,bid,ask,last,volume,time_msc,flags,volume_real\n" + "\n".join(lines) + "\n")
    two_hours = [ms - 7_200_000 for ms in STAMPS]
    assert stamps(path) == two_hours
    assert stamps(path, utc_offset_h=2.0) == two_hours
    assert stamps(path, timezone="UTC") == STAMPS
    manifest = import_ticks(path, tmp_path / "store")
    assert manifest.rows == 12
    assert manifest.notes == ["Stamps without a zone were read as the clock NY+7 and turned into UTC."]


def test_a_header_in_the_middle_is_named_by_its_own_row(tmp_path: Path) -> None:
    path = tmp_path / "ticks.csv"
    path.write_text(TABLE + TABLE)
    with pytest.raises(
        DataError, match=r"milliseconds since 1970, as the rows before it\), but got 'time'"
    ) as caught:
        import_ticks(path, tmp_path / "store")
    assert (caught.value.file, caught.value.row) == (path, 12)


def test_an_order_of_day_and_month_that_other_files_show_holds_for_all(tmp_path: Path) -> None:
    for day in (5, 6, 14):
        (tmp_path / f"day{day:02d}.csv").write_text(f"time,bid,ask\n02/{day:02d}/2019 10:00:00,1.1,1.2\n")
    assert [one // 86_400_000 for one in stamps(tmp_path)] == [17_932, 17_933, 17_941]
    (tmp_path / "day14.csv").unlink()
    with pytest.raises(DataError, match="Day and month cannot be told apart"):
        stamps(tmp_path)
    assert len(stamps(tmp_path, time_format="%m/%d/%Y %H:%M:%S")) == 2


def test_a_clock_is_only_noted_where_it_was_applied(tmp_path: Path) -> None:
    path = tmp_path / "ticks.csv"
    path.write_text(TABLE)
    manifest = import_ticks(path, tmp_path / "local", options=ReaderOptions(timezone="+02:00"))
    assert manifest.first_ts_ns == (FIRST_MS - 7_200_000) * MS
    assert manifest.notes == ["Stamps without a zone were read as the clock +02:00 and turned into UTC."]
    assert import_ticks(path, tmp_path / "utc").notes == []
    # A store of our own is in UTC by its schema.
    with pytest.raises(DataError, match="are UTC nanoseconds by their name"):
        import_ticks(tmp_path / "utc", tmp_path / "again", options=ReaderOptions(timezone="+02:00"))


def test_the_command_takes_a_time_format(tmp_path: Path) -> None:
    path = tmp_path / "ticks.csv"
    path.write_text("DateTime,Bid,Ask\n02/05/2019 10:00:00.991,1.13999,1.14007\n")
    call = ["import", str(path), "--out", str(tmp_path / "store"), "--instrument", "EURUSD"]
    refused = CliRunner().invoke(command, call, standalone_mode=False)
    assert "Say which: --time-format" in str(refused.exception)
    done = CliRunner().invoke(
        command, [*call, "--time-format", "%m/%d/%Y %H:%M:%S.%f"], standalone_mode=False
    )
    assert done.exception is None
    assert "2019-02-05T10:00:00.991" in done.stdout
