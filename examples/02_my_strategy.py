"""My strategy as YAML: read it, see what is wrong with a broken one, change its parameters.

python examples/02_my_strategy.py [STRATEGY.yaml]
"""

from __future__ import annotations

import sys
from pathlib import Path

import aiopt as ao

path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("02_my_strategy.yaml")

print(ao.families())

mine = ao.load_spec(path)
print(mine.name, mine.params)
print("enters long when", mine.entry_long)
print("first bar with every indicator:", mine.warmup_bars)
print("identity:", mine.spec_hash[:12])

# The same strategy with other numbers is another strategy, with another identity.
faster = ao.load_spec(path, rsi_length=5)
print("with rsi_length=5:", faster.spec_hash[:12])

# A mistake is refused where it is made, with what to do.
try:
    ao.load_spec(path, rsi_lenght=5)
except ao.errors.SpecError as error:
    print("refused:", error)
