"""Partial bars as Ray Data blocks: what a shard sent is what the driver merges, lists of records too."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aiopt.bars.building.partial_bars import TickReducer, empty_partial
from aiopt.timeframe import parse_timeframe
from cluster.bars import _block, _shards_of

MINUTE = parse_timeframe("1m")


def partial(seed: int) -> dict[str, NDArray[np.generic]]:
    rng = np.random.default_rng(seed)
    bid = np.round(1.1 + rng.integers(-9, 9, 200).cumsum() / 1e5, 5)
    ticks = {
        "ts_event_ns": rng.integers(0, 9, 200).cumsum() * 1_000_000_000,
        "bid": bid,
        "ask": np.round(bid + 8e-5, 5),
        "bid_size": np.ones(200),
        "ask_size": np.ones(200),
    }
    return TickReducer(MINUTE, ("bid", "ask"), stops=True).reduce(ticks)


def test_a_block_gives_back_the_partial_bars_of_its_shards_wherever_it_is_cut() -> None:
    parts = {3: partial(3), 7: partial(7)}
    whole = pa.concat_tables([_block(shard, columns, 0, None) for shard, columns in parts.items()])
    for blocks in ([whole], [whole.slice(0, 4), whole.slice(4)]):
        found: dict[int, list[dict[str, NDArray[np.generic]]]] = {3: [], 7: []}
        for block in blocks:
            for shard, columns in _shards_of(block):
                found[shard].append(columns)
        for shard, columns in parts.items():
            for name, values in columns.items():
                assert np.array_equal(np.concatenate([one[name] for one in found[shard]]), values), name


def test_a_shard_without_bars_sends_one_row_without_ticks() -> None:
    block = _block(1, empty_partial(("bid", "ask"), stops=True), 5, None)
    ((shard, columns),) = _shards_of(block)
    assert (shard, columns["ticks"].tolist(), columns["outside"].tolist()) == (1, [0], [5])
    assert columns["record_bid_count"].tolist() == [0]
    assert columns["record_bid_price"].size == 0
