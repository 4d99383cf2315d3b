"""aiopt: from raw EUR/USD ticks to TradingView strategies one can trust.

Everything below `aiopt` imports and runs without Ray, vLLM, a GPU or a network; the package `cluster`
distributes it.
"""

__version__ = "0.1.0"
