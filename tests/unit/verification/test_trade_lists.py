"""TradingView's exports in each of its layouts, and what they are compared with."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from aiopt.cli.pine import command
from aiopt.errors import ConfigError, DataError
from aiopt.verification.trade_lists import OurTrade, compare_lists, shift_of, trades_of
from aiopt.verification.tradingview import read_trade_list

MINUTE_NS = 60_000_000_000
START_NS = 1_709_280_000_000_000_000  # 2024-03-01 08:00 UTC

OLDEST = """Trade #,Type,Signal,Date/Time,Price,Contracts,Profit,Cum. Profit
1,Entry Long,Long,2024-03-01 08:05,1.0812,10000,,
1,Exit Long,Stop,2024-03-01 08:20,1.0802,10000,-10,-10
2,Entry Short,Short,2024-03-01 08:30,1.0799,10000,,
2,Exit Short,Target,2024-03-01 08:45,1.0789,10000,10,0
"""
MIDDLE = """\ufeffTrade #,Type,Date/Time,Signal,Price USD,Position size (qty),Value,Net P&L USD
1,Exit long,2024-03-01 08:20,Stop,1.0802,10000,10812,\u221210
1,Entry long,2024-03-01 08:05,Long,1.0812,10000,10812,\u221210
2,Exit short,2024-03-01 08:45,Target,1.0789,10000,10799,10
2,Entry short,2024-03-01 08:30,Short,1.0799,10000,10799,10
"""
NEWEST = """\
\ufeffTrade number,Type,Date and time,Signal,Price USD,Size (qty),Size (value),Net PnL USD,Return %
3,Exit long,,Open,,10000,10800,1,0.01
3,Entry long,2024-03-01 09:00,Long,1.0800,10000,10800,1,0.01
2,Exit short,2024-03-01 08:45,Target,1.0789,10000,10799,10,0.1
2,Entry short,2024-03-01 08:30,Short,1.0799,10000,10799,10,0.1
1,Exit long,2024-03-01 08:20,Stop,1.0802,10000,10812,-10,-0.1
1,Entry long,2024-03-01 08:05,Long,1.0812,10000,10812,-10,-0.1
"""
COMMA = OLDEST.replace(",", ";").replace(".", ",").replace("Cum, Profit", "Cum. Profit")


def trade(side: str, entered: int, entry: float, left: int, leave: float, size: float = 10_000) -> OurTrade:
    return OurTrade(
        side=side,
        entry_ts_ns=START_NS + entered * MINUTE_NS,
        entry_price=entry,
        exit_ts_ns=START_NS + left * MINUTE_NS,
        exit_price=leave,
        size=size,
    )


OURS = [trade("long", 5, 1.0812, 20, 1.0802), trade("short", 30, 1.0799, 45, 1.0789)]


@pytest.fixture
def export(tmp_path: Path) -> Path:
    return tmp_path / "list.csv"


@pytest.mark.parametrize("text", [OLDEST, MIDDLE, NEWEST, COMMA], ids=["oldest", "middle", "newest", "comma"])
def test_every_layout_is_read_alike(export: Path, text: str) -> None:
    export.write_text(text, encoding="utf-8")
    found = read_trade_list(export, "UTC")
    told = compare_lists(found.trades, OURS, tick=0.00001)
    assert told.agrees, told.first
    assert (told.listed, told.ours, told.missing, told.extra) == (2, 2, [], [])
    assert told.open_trades == (1 if text == NEWEST else 0)
    assert [(one.entry_signal, one.exit_signal) for one in found.trades][:2] == [
        ("Long", "Stop"),
        ("Short", "Target"),
    ]
    assert found.currency == (None if text in (OLDEST, COMMA) else "USD")


@pytest.mark.parametrize("ends", ["\r\n", "\r"])
def test_line_ends_of_other_systems_change_nothing(export: Path, ends: str) -> None:
    export.write_bytes(NEWEST.replace("\n", ends).encode())
    found = read_trade_list(export, "UTC")
    assert compare_lists(found.trades, OURS, tick=0.00001).agrees
    assert [one.row for one in found.trades] == [7, 5, 3]


def test_times_are_of_the_chart(export: Path) -> None:
    export.write_text(OLDEST, encoding="utf-8")
    with pytest.raises(ConfigError, match="Give it with --timezone"):
        read_trade_list(export, None)
    for zone in ("Mars/Base", "Europe", "", "../UTC"):
        with pytest.raises(ConfigError, match=f"no time zone '{zone}'"):
            read_trade_list(export, zone)
    listed = read_trade_list(export, "America/New_York").trades
    assert not compare_lists(listed, OURS, tick=0.00001).pairs
    assert shift_of(listed, OURS) == 5.0
    assert shift_of(read_trade_list(export, "UTC").trades, OURS) is None
    export.write_text(OLDEST.replace(" 08:", "T03:").replace(",1.0", "-05:00,1.0"), encoding="utf-8")
    text = export.read_text(encoding="utf-8").replace("T03:05", "T03:05:00").replace("T03:20", "T03:20:00")
    export.write_text(text.replace("T03:30", "T03:30:00").replace("T03:45", "T03:45:00"), encoding="utf-8")
    assert compare_lists(read_trade_list(export, None).trades, OURS, tick=0.00001).agrees


@pytest.mark.parametrize("day", ["2024-03-31 02:30", "2024-10-27 02:30"], ids=["never", "twice"])
def test_a_time_that_is_not_one_is_refused(export: Path, day: str) -> None:
    export.write_text(OLDEST.replace("2024-03-01 08:05", day), encoding="utf-8")
    with pytest.raises(DataError, match=r"row 2: The clock of Europe/Berlin is moved at .* twice or never"):
        read_trade_list(export, "Europe/Berlin")
    assert read_trade_list(export, "UTC").trades


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("1.0802", "1.08025", "its exit is 5 tick(s) above ours"),
        ("1.0799", "1.0798", "its entry is 10 tick(s) below ours"),
        ("08:45", "08:46", "it ends in another bar"),
        ("08:30", "08:31", "TradingView's trade 2 is not among ours"),
        ("1.0812,10000", "1.0812,9000", "its size is another"),
    ],
)
def test_each_difference_is_told(export: Path, old: str, new: str, said: str) -> None:
    export.write_text(OLDEST.replace(old, new), encoding="utf-8")
    ours = [*OURS, trade("long", 60, 1.08, 70, 1.09)] if "31" in new else OURS
    listed = read_trade_list(export, "UTC").trades
    told = compare_lists(listed, ours, tick=0.00001)
    assert not told.agrees
    assert said in told.first or (said.startswith("TradingView") and told.missing)
    assert any(line.startswith("> ") for line in told.context)


PARTS = """Trade #,Type,Signal,Date/Time,Price,Contracts,Profit,Cum. Profit
1,Entry Long,Long,2024-03-01 08:05,1.0812,3000,,
1,Exit Long,Target 2,2024-03-01 08:20,1.0832,3000,6,6
2,Entry Long,Long,2024-03-01 08:05,1.0812,2000,,
2,Exit Long,Target 1,2024-03-01 08:20,1.0822,2000,2,8
3,Entry Long,Long,2024-03-01 08:05,1.0812,5000,,
3,Exit Long,Stop,2024-03-01 08:40,1.0802,5000,-5,3
"""


def test_parts_of_a_position_are_matched_whatever_their_order(export: Path) -> None:
    export.write_text(PARTS, encoding="utf-8")
    listed = read_trade_list(export, "UTC").trades
    ours = [
        trade("long", 5, 1.0812, 20, 1.0822, 2000),
        trade("long", 5, 1.0812, 20, 1.0832, 3000),
        trade("long", 5, 1.0812, 40, 1.0802, 5000),
    ]
    told = compare_lists(listed, ours, tick=0.00001)
    assert told.agrees, told.first
    other = [*ours[:2], trade("long", 5, 1.0812, 40, 1.0802, 4000)]
    assert compare_lists(listed, other, tick=0.00001).first == "trade 3 differs: its size is another"
    fewer = compare_lists(listed, ours[:2], tick=0.00001)
    assert fewer.first == "TradingView's trade 3 is not among ours"
    assert [one["number"] for one in fewer.extra] == [3]


def test_only_the_stretch_of_both_is_compared(export: Path) -> None:
    export.write_text(OLDEST, encoding="utf-8")
    listed = read_trade_list(export, "UTC").trades
    more = [trade("long", -600, 1.0, -590, 1.1), *OURS, trade("long", 900, 1.0, 910, 1.1)]
    told = compare_lists(listed, more, tick=0.00001)
    assert told.agrees
    assert told.outside == 2
    absent = compare_lists(listed, [more[0], OURS[0], trade("long", 10, 1.0, 12, 1.1), OURS[1]], tick=0.00001)
    assert len(absent.missing) == 1
    assert absent.first == "a trade of ours is not in TradingView's list"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("a,b\n1,2\n", "no column 'trade number'"),
        (OLDEST.split("\n", 1)[0] + "\n", "has no trades"),
        (OLDEST.replace("Entry Long", "Long"), "row 2: The type must be e.g. Entry long"),
        (OLDEST.replace("1.0812", "twelve"), "row 2: A number was expected, but there is 'twelve'"),
        (OLDEST.replace("2024-03-01 08:05", "1 Mar"), "row 2: The time must be like"),
        (OLDEST.replace("2024-03-01 08:05", "2024-02-31 08:05"), "row 2: There is no time"),
        (OLDEST.replace("1,Exit Long", "1,Exit Short"), "Trade 1 must have one entry"),
        (OLDEST.replace("\n1,Exit", "\nx,Exit"), "row 3: The trade's number must be whole"),
        (OLDEST + "3,Entry Long\n", "row 6: The row has 2 cells"),
        (OLDEST.replace("\n1,Exit", "\n²,Exit"), "row 3: The trade's number must be whole"),
        (OLDEST.replace("\n1,Exit", "\n" + "9" * 5000 + ",Exit"), "row 3: The trade's number must be whole"),
        (OLDEST.replace("1.0812", "nan"), "row 2: A price or size must be a positive number, but is 'nan'"),
        (OLDEST.replace("1.0802", "1e999"), "row 3: A price or size must be a positive number"),
        (OLDEST.replace("1.0812", "-1.0812"), "row 2: A price or size must be a positive number"),
        (OLDEST.replace("1.0812", '"1,081"'), "can be read as thousands or as decimals"),
        ("PK\x03\x04", "is a workbook"),
        ("\n \n", "has no column 'trade number'"),
        (
            OLDEST + '3,Entry Long,"' + "x" * 140_000 + '"\n',
            "row 6: The row is no row of a CSV (field larger",
        ),
    ],
)
def test_a_broken_export_is_refused(export: Path, text: str, said: str) -> None:
    export.write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as raised:
        read_trade_list(export, "UTC")
    assert said in str(raised.value)
    assert str(raised.value).startswith(str(export))


def test_trades_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "ours.json"
    path.write_bytes(msgspec.json.encode({"trades": OURS, "bars": "bars/EURUSD/5m/bid.parquet"}))
    assert trades_of(path, None) == (OURS, 0.00001, "ours.json")
    path.write_bytes(msgspec.json.encode({"trades": OURS, "config": {"mode": "research"}}))
    with pytest.raises(DataError, match="Run it with --mode parity"):
        trades_of(path, None)
    told = msgspec.to_builtins(OURS[0])
    for document in ({}, {"trades": [{**told, "side": "up"}]}, {"trades": [{**told, "entry_price": 0}]}):
        path.write_text(json.dumps(document), encoding="utf-8")
        with pytest.raises(DataError, match="holds no trades"):
            trades_of(path, None)
    with pytest.raises(ConfigError, match="is a folder, but no run folder"):
        trades_of(tmp_path, None)
    table = tmp_path / "trades.csv"
    table.write_text(",".join(told) + "\n" + ",".join(map(str, told.values())) + "\n", encoding="utf-8")
    assert trades_of(table, None) == (OURS[:1], None, "trades.csv")
    table.write_text(table.read_text().replace("1.0802", "NaN"), encoding="utf-8")
    with pytest.raises(DataError, match="exit_price must be a positive number, but is nan"):
        trades_of(table, None)
    table.write_text("rank,side\n1,long\n", encoding="utf-8")
    with pytest.raises(DataError, match="trades with spread and costs"):
        trades_of(table, None)
    with pytest.raises(ConfigError, match="no run folder or file"):
        trades_of(tmp_path / "nothing", None)


def test_the_command(export: Path, tmp_path: Path) -> None:
    export.write_text(NEWEST, encoding="utf-8")
    path = tmp_path / "ours.json"
    path.write_bytes(msgspec.json.encode({"trades": OURS, "bars": "bars/EURUSD/5m/bid.parquet"}))
    good = CliRunner().invoke(command, ["compare", str(export), str(path), "--timezone", "UTC"])
    assert good.exit_code == 0, good.output
    assert "Every trade is the same" in good.stdout
    late = CliRunner().invoke(command, ["compare", str(export), str(path), "--timezone", "Asia/Tokyo"])
    assert late.exit_code == 1
    assert "All entries are 9 h early" in late.stdout
    document = (
        CliRunner().invoke(command, ["compare", str(export), str(path), "--timezone", "UTC", "--json"]).stdout
    )
    assert json.loads(document)["equal"] == 2
