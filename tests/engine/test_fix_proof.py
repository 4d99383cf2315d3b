"""`aiopt pine fix --bars`: two texts of a script, run in the Pine engine on the same bars."""

from __future__ import annotations

import pytest

from aiopt.testing.bars import random_walk_bars
from aiopt.verification.fix_proof import fix_prover
from aiopt.verification.pine_runs import PineRunner

pytestmark = pytest.mark.slow

BEFORE = """//@version=6
strategy("crossing", overlay=true)
fast = ta.sma(close, 5)
slow = ta.sma(close, 20)
if ta.crossover(fast, slow)
    strategy.entry("Long", strategy.long)
if ta.crossunder(fast, slow)
    strategy.close("Long")
plot(fast, "fast")
plot(slow, title="slow")
plot(close)
"""


@pytest.fixture(scope="module")
def prove(pine):
    return fix_prover(PineRunner(pine.engine), random_walk_bars(600, seed=3))


def test_the_same_script_in_other_words_is_proved(prove) -> None:
    after = BEFORE.replace("ta.sma(close, 5)", "ta.sma(close, 2 + 3)")
    verdict = prove(BEFORE, after)
    assert verdict.is_equal is True
    assert "closed trades and 2 titled plots are the same on 600 bars in PineTS" in verdict.text
    assert not verdict.text.startswith("0 closed")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("ta.sma(close, 20)", "ta.sma(close, 21)", "trade 1 differs"),
        ('    strategy.close("Long")\n', "    log.info('none')\n", "closed trades before and 0 after"),
        ("plot(fast,", "plot(fast + 1.0,", "plot 'fast' differs first on bar 4"),
    ],
    ids=["trades", "number of trades", "plots"],
)
def test_what_differs_is_said(prove, old: str, new: str, said: str) -> None:
    assert old in BEFORE
    verdict = prove(BEFORE, BEFORE.replace(old, new))
    assert verdict.is_equal is False
    assert said in verdict.text


def test_a_text_that_cannot_be_run_proves_nothing(prove) -> None:
    verdict = prove(BEFORE, BEFORE.replace("ta.sma(close, 5)", "ta.nonsense(close, 5)"))
    assert verdict.is_equal is None
    assert "cannot run the text after the fixes" in verdict.text
