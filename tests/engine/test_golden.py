"""The golden file of indicators is what the Pine engine says of the scripts this project writes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.pine_engine.golden import GOLDEN, golden_outputs

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["rsi", "macd", "dmi"])
def test_the_engine_gives_the_golden_values_again(pine, kind: str) -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    found = golden_outputs(kind, golden, pine)
    assert found
    for title, values in found.items():
        expected = np.array(golden["outputs"][title], dtype=np.float64)
        # The engine rounds every variable to 1e-10, which the ratios of DMI magnify.
        np.testing.assert_allclose(np.array(values, dtype=np.float64), expected, rtol=0, atol=1e-6)
