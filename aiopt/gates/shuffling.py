"""Readings in another order of time: the control of a gate.  Owns the shuffle; trades nothing."""

from __future__ import annotations

import msgspec
import numpy as np

from aiopt.bars.reading_log import ReadingLog
from aiopt.errors import MetricInputError


def shuffled(log: ReadingLog, *, block: int, seed: int) -> ReadingLog:
    """Return the log with its readings in another order of time, in blocks.

    What was read moves, when it was read stays: the same readings, as often and, inside a block, as
    persistent, but of other moments.  Where the first block begins is drawn too, so that with few blocks
    their edges differ from draw to draw.

    Parameters
    ----------
    log : ReadingLog
        The readings.
    block : int
        Readings that stay together, at least 1.
    seed : int
        Same seed, same order.

    Raises
    ------
    MetricInputError
        If `block` is out of range.
    """
    if not 1 <= block <= max(1, len(log) // 2):
        msg = f"`1 <= block <= readings / 2` must hold, but got block={block} for {len(log)} readings. "
        raise MetricInputError(f"{msg}Choose a shorter block.")
    rng = np.random.default_rng(seed)
    by_chart = np.argsort(log.ends_ns, kind="stable")
    turned = np.roll(by_chart, int(rng.integers(len(log))))
    edges = range(0, len(log), block)
    order = np.concatenate([turned[edges[k] : edges[k] + block] for k in rng.permutation(len(edges))])
    found = []
    for place, source in zip(by_chart.tolist(), order.tolist(), strict=True):
        here, there = log.readings[place], log.readings[source]
        found.append(msgspec.structs.replace(there, ts_end_ns=here.ts_end_ns, known_ns=here.known_ns))
    return log.at_other_times(found)
