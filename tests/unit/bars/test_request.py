"""What a request of bars may ask for."""

from __future__ import annotations

import pickle

import msgspec
import pytest

from aiopt.bars.request import BarRequest
from aiopt.bars.rules import parse_bar_rules, time_rules
from aiopt.errors import ConfigError
from aiopt.market.sessions import parse_session
from aiopt.timeframe import parse_timeframe


def test_contradicting_requests_are_refused() -> None:
    minute = (parse_timeframe("1m"),)
    with pytest.raises(ConfigError, match="but got both"):
        BarRequest(time_rules(minute), ("bid",), empty="flat", fill="flat")
    with pytest.raises(ConfigError, match="Did you mean 'flat'"):
        BarRequest(time_rules(minute), ("bid",), fill="flatt")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="whole days"):
        BarRequest(parse_bar_rules("time", "36h"), ("bid",), session=parse_session("17:00"))
    with pytest.raises(ConfigError, match="Only time bars can be filled, but these are tick bars"):
        BarRequest(parse_bar_rules("tick", "5"), ("bid",), fill="flat")
    with pytest.raises(ConfigError, match="of one type, but got range and time"):
        BarRequest((*time_rules(minute), *parse_bar_rules("range", "5")), ("bid",))


@pytest.mark.parametrize(("type_", "size"), [("time", "5m,1m"), ("renko", "5,2.5")])
def test_a_request_survives_json_and_pickling_and_counts_nothing_twice(type_: str, size: str) -> None:
    rules = parse_bar_rules(type_, size)
    request = BarRequest((*rules, *rules), ("mid", "bid", "mid"), parse_session("17:00"), spread_stats=True)
    assert (request.rules, request.prices) == (rules, ("mid", "bid"))
    assert msgspec.json.decode(msgspec.json.encode(request), type=BarRequest) == request
    assert pickle.loads(pickle.dumps(request)) == request
    with pytest.raises(msgspec.ValidationError, match="unknown field `timeframe`"):
        msgspec.convert({**msgspec.to_builtins(request), "timeframe": "5m"}, BarRequest)
