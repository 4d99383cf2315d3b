"""Everything that stands between a strategy's wish and the venue, put together.

Owns the order in which kill switch, strategies' states, watchdogs and limits are asked, and their common
state.  Plain Python: no NautilusTrader, no clock, no file.

- `aiopt.live.guard.guard`: `Guard`
- `aiopt.live.guard.guard_config`: `GuardConfig`
- `aiopt.live.guard.paper_target`: the kill switch's way to a paper venue
"""
