"""The bus of live sessions: what they tell, what they can be told, and the ways it goes.

Owns events, commands, the desk commands come in at, transports and the journal.  Knows nothing of strategies,
venues, NautilusTrader or Ray.
"""
