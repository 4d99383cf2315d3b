"""The meaning of a Pine script: names, types, calls, and what TradingView refuses.  Reads no file."""
