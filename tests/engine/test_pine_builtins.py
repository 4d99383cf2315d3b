"""What the emitted script spells out is what Pine's own function gives, where the two may be compared."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.pine_engine.golden import bars_of

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).parents[1] / "unit" / "indicators" / "golden_pine_engine.json"

BUILT_IN = {
    "hma.value": "ta.hma(close, 20)",
    "vwma.value": "ta.vwma(close, 20)",
    "williams_r.value": "ta.wpr(14)",
    "cci.value": "ta.cci(close, 20)",
    "roc.value": "ta.roc(close, 10)",
    "tsi.value": "ta.tsi(close, 13, 25)",
    "cmo.value": "ta.cmo(close, 9)",
    "obv.value": "ta.obv",
    "mfi.value": "ta.mfi(close, 14)",
}
TUPLES = {
    ("keltner.middle", "keltner.upper", "keltner.lower"): "ta.kc(close, 20, 2.0)",
    ("supertrend.line", "supertrend.direction"): "ta.supertrend(3.0, 10)",
}


def test_spelled_out_is_built_in(pine) -> None:
    golden = json.loads(GOLDEN.read_text())
    lines = ["//@version=6", 'indicator("built in")']
    names = list(BUILT_IN)
    for number, call in enumerate(BUILT_IN.values()):
        lines.append(f"v{number} = {call}")
    for titles, call in TUPLES.items():
        variables = [f"t{len(names) + place}" for place in range(len(titles))]
        lines.append(f"[{', '.join(variables)}] = {call}")
        names += titles
    prefixes = ["v"] * len(BUILT_IN) + ["t"] * (len(names) - len(BUILT_IN))
    lines += [
        f'plot({prefix}{number}, "{name}")'
        for number, (prefix, name) in enumerate(zip(prefixes, names, strict=True))
    ]
    run = pine.run("\n".join(lines) + "\n", bars_of(golden), plots=names)
    for name in names:
        expected = np.array([np.nan if value is None else value for value in golden["outputs"][name]])
        found = run.plots[name]
        # Where prices stand still a built-in divides by noise or by 0; the script says na.
        both = np.isfinite(expected) & np.isfinite(found)
        assert both.sum() >= np.isfinite(expected).sum() - 20, name
        # Ten decimals of a true range of some ticks are few: a ratio of two shows it.
        np.testing.assert_allclose(found[both], expected[both], rtol=3e-6, atol=2e-6, err_msg=name)
