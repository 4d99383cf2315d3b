"""Proof that a script trades as the backtest does: the Pine engine of the user, and the comparison of views.

Owns the engine's place on the user's disk, the way a script is run in it, what is compared, and how a list
of trades from TradingView is read.  Knows nothing of how strategies are found.
"""
