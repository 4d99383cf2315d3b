"""Packed rows: every bit of every profit comes back, and few bytes are needed."""

from __future__ import annotations

import zlib

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.config import canonical_json
from aiopt.ranking.packing import pack_row, unpack_row
from aiopt.ranking.packing_kernels import shortest
from aiopt.testing.sweeps import failed, noise_sweep

ROW = noise_sweep(1, trials=1)[0]


def bits(values):
    return np.asarray(values, dtype=np.float64).view(np.int64).tolist()


decimals = st.builds(lambda whole, k: whole / 10**k, st.integers(-(10**13), 10**13), st.integers(0, 10))
floats = st.one_of(st.just(0.0), st.just(-0.0), decimals, st.floats(allow_nan=False, allow_infinity=False))


@settings(max_examples=200, deadline=None)
@given(st.lists(floats, max_size=60), st.lists(floats, max_size=10))
def test_profits_come_back_bit_for_bit(pnl, holdout):
    row = msgspec.structs.replace(ROW, pnl=pnl, holdout_pnl=holdout)
    packed = pack_row(row)
    for compact in (False, True):
        found = unpack_row(packed, compact=compact)
        assert bits(found.pnl) == bits(pnl)
        assert bits(found.holdout_pnl) == bits(holdout)
    assert unpack_row(packed) == row
    assert pack_row(unpack_row(packed, compact=True)) == packed


@pytest.mark.parametrize("row", [ROW, failed(3)])
def test_every_field_comes_back(row):
    assert unpack_row(pack_row(row)) == row


def test_a_year_of_hours_in_cents_takes_a_fraction_of_its_json():
    rng = np.random.default_rng(2)
    held = np.arange(8_766) % 168 < 120
    cents = np.where(held & (rng.random(8_766) < 0.7), np.round(rng.normal(0, 12, 8_766), 2), 0.0)
    row = msgspec.structs.replace(ROW, pnl=cents.tolist())
    assert len(pack_row(row)) < 11_000
    assert len(pack_row(row)) < len(canonical_json(row)) / 2.5


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda plain: plain[:-1], "cut off|missing"),
        (lambda plain: plain[:2], "cut off"),
        (lambda plain: plain + b"x", "1 bytes follow it"),
    ],
)
def test_what_is_no_packed_row_is_refused(damage, message):
    plain = zlib.decompress(pack_row(ROW))
    with pytest.raises(ValueError, match=message):
        unpack_row(zlib.compress(damage(plain)))


def test_what_is_not_compressed_is_refused():
    with pytest.raises(ValueError, match="cannot be decompressed"):
        unpack_row(b"plain")


def test_a_row_of_arrays_packs_into_the_bytes_of_one_of_lists() -> None:
    arrays = msgspec.structs.replace(ROW, pnl=np.array(ROW.pnl), holdout_pnl=np.array(ROW.holdout_pnl))
    assert pack_row(arrays) == pack_row(ROW)


@settings(max_examples=200, deadline=None)
@given(st.lists(floats, min_size=1, max_size=60))
def test_a_profit_has_the_fewest_decimals_that_give_it_back(profits):
    values, powers = np.array(profits), 10.0 ** np.arange(9)
    codes, whole = np.empty(values.size, dtype=np.uint8), np.zeros(values.size, dtype=np.int64)
    shortest(values, powers, 2.0**53, codes, whole)
    for value, code, number in zip(values, codes, whole, strict=True):
        with np.errstate(over="ignore"):
            scaled = np.rint(value * powers)
        fitting = np.flatnonzero((np.abs(scaled) < 2.0**53) & (scaled / powers == value))
        if value == 0.0:
            assert code == (10 if np.signbit(value) else 0)
        elif fitting.size:
            assert (code, number) == (fitting[0] + 1, int(scaled[fitting[0]]))
        else:
            assert code == 10
