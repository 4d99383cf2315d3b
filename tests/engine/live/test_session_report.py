"""What one sees of a session, whether it ended, was left or holds something: report and terminal view."""

from __future__ import annotations

import io
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from rich.console import Console

from aiopt.errors import AioptError, ConfigError
from aiopt.live.guard.guard_config import GuardConfig
from aiopt.live.limits.limits_config import LimitsConfig
from aiopt.live.report.curves import equity_curve
from aiopt.live.report.frame import frame
from aiopt.live.report.page import render_session, write_session_report
from aiopt.live.report.record import SessionRecord, read_commands, read_proofs, read_record
from aiopt.live.session.live_config import LiveConfig
from aiopt.live.session.live_session import LiveSession
from aiopt.live.session.proof import not_comparable
from aiopt.live.session.run_folder import prove_session, write_folder
from aiopt.live.state.session_file import SessionFile
from aiopt.live.watch.watch_config import WatchConfig
from aiopt.strategy.families import FAMILIES
from cluster.cli import main
from tests.engine.live.live_sessions import config_of, run, traded

NAMES = ("ema_cross_atr", "stochastic_sma", "bollinger_breakout")


@pytest.fixture(scope="module")
def config(store: Path, tmp_path_factory: pytest.TempPathFactory) -> LiveConfig:
    """Three strategies under limits that refuse some of their entries."""
    specs = {name: FAMILIES[name].spec for name in NAMES}
    limits = LimitsConfig(max_notional=15_000.0, max_drawdown=0.5, max_daily_loss=50_000.0)
    return config_of(
        store,
        traded(tmp_path_factory.mktemp("specs"), specs, "5m"),
        guard=GuardConfig(limits=limits, watch=WatchConfig()),
        account={"commission_per_million": 30.0, "slippage_ticks": 1},
    )


@pytest.fixture(scope="module")
def ended(config: LiveConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session at the end of its feed, compared with its backtest."""
    out = tmp_path_factory.mktemp("ended")
    with SessionFile(out) as file:
        end = LiveSession(config, file).run()
        write_folder(file, config, end, prove_session(file, config))
    return out


@pytest.fixture(scope="module")
def holding(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session that ended with open positions."""
    specs = {name: FAMILIES[name].spec for name in NAMES}
    config = config_of(
        store,
        traded(tmp_path_factory.mktemp("specs"), specs, "1m"),
        at_end="keep",
        feed={"stop": "2024-03-05T13:00"},
    )
    out = tmp_path_factory.mktemp("holding")
    run(config, out)
    return out


def text_of(record: SessionRecord, pulse: dict[str, float] | None = None) -> str:
    console = Console(width=160, file=io.StringIO())
    with console.capture() as captured:
        console.print(frame(record, pulse or {}))
    return captured.get()


def test_the_equity_is_the_accounts(ended: Path) -> None:
    record = read_record(ended)
    times, equity = equity_curve(record)
    assert times == sorted(set(times))
    assert equity[0] == record.config.account.initial_balance
    assert equity[-1] == record.account.equity == record.account.balance
    # At every bar that nothing spans, the curve is what was closed so far, to the cent.
    flat = [
        (at, value)
        for at, value in zip(times[1:-1], equity[1:-1], strict=True)
        if not any(trade.entry_ts_ns <= at < trade.exit_ts_ns for trade in record.trades)
    ]
    assert len(flat) > 20
    for at, value in flat:
        closed = sum(trade.pnl for trade in record.trades if trade.exit_ts_ns < at)
        assert value == pytest.approx(equity[0] + closed, abs=1e-6)


def test_open_positions_are_in_the_equity(holding: Path) -> None:
    record = read_record(holding)
    assert len(record.positions) >= 1
    _, equity = equity_curve(record)
    assert equity[-1] == record.account.equity != record.account.balance
    # The last bar's end lies just before: the marks of the curve are near the venue's own.
    assert equity[-2] == pytest.approx(equity[-1], abs=100.0)


def test_the_page_says_what_happened(ended: Path) -> None:
    page = write_session_report(ended).read_text()
    record, proofs = read_record(ended), read_proofs(ended)
    assert proofs is not None
    assert all(one.holds for one in proofs)
    refused = record.refused()
    assert refused["max_notional"] > 0
    assert f"max notional {refused['max_notional']}" in page
    row = re.search(r'max notional</th><td class="num">15,000</td><td class="num"></td>(.*?)</td>', page)
    assert row is not None
    assert row[1].endswith(f">{refused['max_notional']}")
    differences = sum(len(one.differences) for one in proofs)
    assert page.count("the session refused the entry") == sum(one.why.get("refused", 0) for one in proofs) > 0
    body = page.split('aria-label="Differences"')[1].split("</table>")[0]
    assert body.count("<tr>") == differences + 1
    assert page.split('class="trade-rows"')[1].split("</tbody>")[0].count("<tr>") == len(record.trades)
    assert "://" not in page.replace("http://www.w3.org/2000/svg", "")
    for picture in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL):
        ET.fromstring(picture)
    assert page.count("<svg") >= 4
    assert page == write_session_report(ended).read_text()


def test_a_strategy_that_a_command_changed_is_not_compared(ended: Path) -> None:
    record, proofs = read_record(ended), read_proofs(ended)
    assert proofs is not None
    changed = not_comparable(proofs[0].strategy, 3, ("set_parameters",))
    page = render_session(record, [changed, *proofs[1:]], [])
    assert page.count("not compared: changed by set parameters") == 1
    page = render_session(record, [changed], [])
    assert "Commands changed every strategy" in page
    assert "unexplained" not in page


def test_the_page_of_one_that_holds_something(holding: Path, tmp_path: Path) -> None:
    page = write_session_report(holding, tmp_path / "page.html").read_text()
    record = read_record(holding)
    assert "Nothing was compared" in page
    assert page.count('class="level stop"') >= len(record.positions)
    assert "Nobody sent a command." in page


def test_the_frame_shows_positions_and_limits(ended: Path, holding: Path) -> None:
    text = text_of(read_record(ended, newest=8))
    assert "of at most -50,000" in text
    assert "ended" in text
    assert "No position is open." in text
    record = read_record(holding, newest=8)
    text = text_of(record)
    stops = [one.price for one in record.orders if one.order.kind == "stop"]
    assert stops
    assert all(f"{price:.5f}" in text for price in stops)
    assert f"{record.positions[0].open_value:+,.2f}" in text


def test_the_commands_show_a_left_session(
    store: Path, config: LiveConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "left"
    with SessionFile(out) as file:
        session = LiveSession(config, file)
        end = session.run(lambda done: session.stop())
        assert not end.ended
        assert main.run(["live", "watch", str(out)]) == 0
        assert "runs" in capsys.readouterr().out
    assert main.run(["live", "report", str(out), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["state"], document["session"]) == ("left", end.session)
    assert "This session is left" in Path(document["report"]).read_text()
    assert main.run(["live", "report", str(out), "--prove"]) == 2
    assert "at the end of its feed, everything closed" in capsys.readouterr().err
    assert main.run(["live", "watch", str(tmp_path)]) == 2
    assert "A session's folder holds" in capsys.readouterr().err


def test_a_session_that_has_not_begun(tmp_path: Path) -> None:
    with SessionFile(tmp_path), pytest.raises(ConfigError, match="has not begun"):
        read_record(tmp_path)
    (tmp_path / "session.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(AioptError, match="cannot be read"):
        read_record(tmp_path)


def test_commands_come_from_the_audit_journal(tmp_path: Path) -> None:
    import asyncio

    from aiopt.bus.audit import AuditJournal
    from aiopt.bus.commands import Effect, PauseEntries, Refusal
    from aiopt.bus.desk import CommandDesk

    class Handler:
        def check(self, command: object) -> Refusal | None:
            return None if command.id == "one" else Refusal(rule="unknown", reason="no such strategy")  # type: ignore[attr-defined]

        async def apply(self, command: object) -> Effect:
            return Effect(before={"entries": "on"}, after={"entries": "off"})

        def applied(self, command_id: str) -> Effect | None:
            return None

    with AuditJournal(tmp_path / "audit.jsonl") as journal:
        desk = CommandDesk("S1", journal)
        for name in ("one", "two"):
            command = PauseEntries(id=name, session="S1", by="anna", made_ns=5)
            asyncio.run(desk.handle(_document(command), Handler(), 7))  # type: ignore[arg-type]
    first, second = read_commands(tmp_path)
    assert (first.command, first.by, first.status, first.text) == (
        "pause_entries",
        "anna",
        "applied",
        "entries: on → off",
    )
    assert (second.status, second.text) == ("refused", "no such strategy")


def _document(command: object) -> bytes:
    import msgspec

    return msgspec.json.encode(command)
