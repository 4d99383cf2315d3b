"""The clocks of real files: what their own weeks prove, and what another provider's bars say to it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from aiopt.bars.importing.bar_source import read_bar_source
from aiopt.bars.importing.reading import BarReading
from aiopt.bars.importing.witness_bars import check_bars, read_witness
from aiopt.errors import DataError
from aiopt.market.instrument import instrument
from aiopt.ticks.clocks.second_witness import Witness
from aiopt.ticks.importing import import_ticks

EURUSD = instrument("EURUSD")


@pytest.fixture(scope="module")
def hours(shared_data: Path) -> Witness:
    return read_witness(shared_data / "oanda/hour/eurusd.zip", EURUSD)


def test_all_weeks_of_a_real_year_prove_new_york(shared_data: Path, hours: Witness) -> None:
    read = read_bar_source(shared_data / "histdata", instrument="EURUSD")
    proof = read.proof
    assert (read.sides["bid"].height, proof.clock, proof.origin) == (372_607, "America/New_York", "weeks")
    assert (proof.weeks, proof.fitting, proof.contradicting) == (53, 53, 0)
    said = check_bars(read, witness=lambda _: hours, source=shared_data)
    assert "6,168 1h bars of hour/eurusd.zip" in said
    assert "agree at lag 0, in each of 53 weeks that tell: 0.27 pips apart" in said


@pytest.mark.parametrize(
    ("clock", "off", "lag"),
    [("Europe/London-5", "in 3 of 53 weeks, the first from 2018-03-11", "-1:00"), ("-05:00", "", "-1:00")],
)
def test_the_conventions_of_other_years_are_refused_for_2018(
    shared_data: Path, hours: Witness, clock: str, off: str, lag: str
) -> None:
    with pytest.raises(DataError, match=r"What fits its weeks: --timezone America/New_York\. Give"):
        read_bar_source(shared_data / "histdata", BarReading(timezone=clock), instrument="EURUSD")
    read = read_bar_source(
        shared_data / "histdata", BarReading(timezone=clock, keep_clock=True), instrument="EURUSD"
    )
    with pytest.raises(DataError, match=rf"{off}.*agree at a lag of {lag} h.* 1:00 h late"):
        check_bars(read, witness=lambda _: hours, source=shared_data)


def test_twelve_years_of_hours_have_no_week_against_utc(shared_data: Path) -> None:
    proof = read_bar_source(shared_data / "oanda/hour/eurusd.zip", instrument="EURUSD").proof
    assert (proof.weeks, proof.fitting, proof.contradicting) == (627, 626, 0)


@pytest.mark.parametrize(
    ("ticks", "bars"),
    [
        ("dukascopy/EURUSD", "dukascopy/EURUSD/2019/01/04/ASK_candles_min_1.bi5"),
        ("oanda/tick/eurusd", "oanda/minute/eurusd"),
    ],
)
def test_ticks_agree_with_the_providers_own_minutes(
    shared_data: Path, tmp_path: Path, ticks: str, bars: str
) -> None:
    witness = partial(read_witness, shared_data / bars)
    manifest = import_ticks(shared_data / ticks, tmp_path / "store", instrument="EURUSD", witness=witness)
    assert manifest.clock is not None
    assert "agree at lag 0" in manifest.clock.check
    assert "0.00 pips apart, 100.0% alike to the tick" in manifest.clock.check


def test_dirty_ticks_of_one_provider_agree_with_the_minutes_of_another(
    shared_data: Path, tmp_path: Path
) -> None:
    witness = partial(read_witness, shared_data / "oanda/minute/eurusd")
    manifest = import_ticks(
        shared_data / "fxcm/tick/eurusd", tmp_path / "store", instrument="EURUSD", witness=witness
    )
    assert manifest.clock is not None
    assert (manifest.clock.clock, manifest.clock.fitting) == ("-05:00", 1)
    assert "agree at lag 0" in manifest.clock.check
    plain = tmp_path / "quotes/eurusd"
    plain.mkdir(parents=True)
    for path in sorted((shared_data / "fxcm/tick/eurusd").iterdir()):
        (plain / path.name).write_bytes(path.read_bytes())
    with pytest.raises(DataError, match=r"ends 5 h before the closing.*fits its weeks: --timezone -05:00"):
        import_ticks(plain, tmp_path / "none", instrument="EURUSD")
