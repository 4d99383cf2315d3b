"""Ask the analyst: what is on the chart?  By rules, without any server; by a model where there is one.

    python examples/06_ask_the_analyst.py [ENDPOINT] [MODEL]

ENDPOINT is an OpenAI-compatible API, e.g. http://127.0.0.1:8000/v1, and MODEL a name it serves.
"""

from __future__ import annotations

import sys

import aiopt as ao

endpoint = sys.argv[1] if len(sys.argv) > 1 else None
model = sys.argv[2] if len(sys.argv) > 2 else "minicpm"
bars = ao.build_bars(ao.sample_ticks(days=2), "15m")

reading = ao.read_chart(bars, last=120, endpoint=endpoint, model=model)
print(reading)
print(reading.analysis.rationale)
print(reading.to_polars())

# A reading knows nothing that came later: the same window of longer bars reads the same.
until = bars[:-10]
earlier = ao.read_chart(until, last=100)
print("two and a half hours before:", earlier.bias, f"{earlier.confidence:.2f}")

# The analyst never touches a score.  How well it reads: `aiopt analyst eval`.
