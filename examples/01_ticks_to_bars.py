"""Ticks to bars: read ticks, look at them, build bars, compute an indicator.

    python examples/01_ticks_to_bars.py [TICKS]

TICKS is a tick store or a provider's files (bi5, zip, CSV, Parquet); without it, two days are generated.
"""

from __future__ import annotations

import sys

import aiopt as ao

ticks = ao.read_ticks(sys.argv[1]) if len(sys.argv) > 1 else ao.sample_ticks(days=2)
print(ticks)
print("dropped:", ticks.dropped or "nothing")

# Bid and ask bars: what a backtest needs.  One pass over the ticks gives several lengths.
bars = ao.build_bars(ticks, ["1m", "5m"])
for one in bars.values():
    print(one)

# One price, as a chart shows it, and bars that are not cut by time.
print(ao.build_bars(ticks, "1h", price="mid", spread_stats=True).to_polars().tail(3))
print(ao.build_bars(ticks, "range-5", price="mid"))

# An indicator is a table as well, and an array.
rsi = ao.indicators.rsi(bars["5m"], length=14)
print(rsi)

# Take anything elsewhere: Polars, pandas, or whatever reads Arrow.  Times are timestamps in UTC.
frame = bars["5m"].to_pandas().set_index("ts_open")
print(frame[["bid_close", "ask_close"]].resample("6h").last())
