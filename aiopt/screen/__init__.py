"""The screen: many points of a strategy backtested in compiled code, trade for trade as the engine does.

Owns the compiled simulator and what it needs: conditions as programs, indicators computed once, exact
money in 64-bit numbers, and the figures of a trial.  Knows no NautilusTrader: `aiopt.backtest` is the judge,
and the tests hold the two equal.

- `aiopt.screen.session`    `ScreenSession`: one spec, or many, over the same bars
- `aiopt.screen.program`    condition trees → a `Program`, once per shape of spec
- `aiopt.screen.machine`    runs programs over blocks of bars
- `aiopt.screen.columns`    indicators and other series, each computed once
- `aiopt.screen.market`     bars as whole price steps, nights and rates
- `aiopt.screen.simulator`  the order of events
- `aiopt.screen.orders`     sizes, levels, fills, margin, costs
- `aiopt.screen.trade_table`  the trades of a run in memory
- `aiopt.screen.amounts`    exact amounts of money
- `aiopt.screen.figures`    trades as floats, equity at chosen bars
"""
