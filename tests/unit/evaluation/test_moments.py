"""Sums of powers give the figures of the series they were made from."""

from __future__ import annotations

import numpy as np
import pytest

from aiopt.evaluation.metrics import kurtosis, sharpe_ratio, skewness
from aiopt.evaluation.moments import Cuts, moments_of_path, moments_over


def test_figures_are_those_of_the_series() -> None:
    rng = np.random.default_rng(5)
    pnl = rng.standard_t(4, (3, 200)) * 40 - 1
    cuts = Cuts.of([0, 50, 120, 200, 50, 90])
    table = np.stack([cuts.sums(row) for row in pnl], axis=1)
    pieces = [*cuts.pieces(0, 50), *cuts.pieces(120, 200)]
    kept = np.concatenate([pnl[:, :50], pnl[:, 120:]], axis=1)
    ratios = moments_over(cuts, table, pieces).sharpe
    assert ratios == pytest.approx([sharpe_ratio(row, periods_per_year=1) for row in kept], rel=1e-10)
    path = moments_of_path(cuts, table, [(2, cuts.pieces(0, 90)), (0, cuts.pieces(90, 120))])
    joined = np.concatenate([pnl[2, :90], pnl[0, 90:120]])
    assert path.n == 120
    assert float(path.sharpe) == pytest.approx(sharpe_ratio(joined, periods_per_year=1), rel=1e-10)
    assert path.shape == pytest.approx((skewness(joined), kurtosis(joined)), rel=1e-9)


def test_what_does_not_vary_has_no_ratio() -> None:
    cuts = Cuts.of([0, 4, 8])
    table = np.stack([cuts.sums(np.zeros(8)), cuts.sums(np.full(8, 0.1)), cuts.sums(np.arange(8.0))], axis=1)
    ratios = moments_over(cuts, table, [0, 1]).sharpe
    assert np.isnan(ratios[:2]).all()
    assert np.isfinite(ratios[2])
    assert np.isnan(moments_of_path(cuts, table, [(0, (0,))]).shape).all()
    assert np.isnan(moments_over(cuts, table, []).sharpe).all()
