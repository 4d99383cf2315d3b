"""Strategies watched and traded in real time: feeds, node, paper venue, limits, watchdog, state.

Owns what happens after a backtest has been believed.  Knows nothing of Ray, sweeps or rankings.  Of its
packages `aiopt.live.paper`, `aiopt.live.limits` and `aiopt.live.watch` are plain Python without
NautilusTrader.
"""
