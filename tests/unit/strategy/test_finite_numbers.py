"""Numbers that are none, in files and texts: the key, the value and what to do."""

import pytest

from aiopt.errors import SpecError
from aiopt.strategy.spec import StrategySpec, load_spec

HEAD = "name: s\nentry_long: close > 1\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("stop_loss: {unit: pips, value: .inf}", "stop_loss.value: a number must be finite, but got inf"),
        ("params: {length: .nan}", "params.length: a number must be finite, but got nan. Write a number"),
        ("time_stop: {bars: .nan}", "time_stop.bars: a number must be finite, but got nan"),
        (
            "targets: [{share: 50, unit: pips, value: 5}, {share: -.inf, unit: pips, value: 9}]",
            "targets.2.share: a number must be finite, but got -inf",
        ),
    ],
)
def test_a_file_names_the_key(tmp_path, line, message):
    path = tmp_path / "strategy.yaml"
    path.write_text(HEAD + line)
    with pytest.raises(SpecError, match=message) as caught:
        load_spec(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
def test_json_has_no_such_numbers(number):
    size = f'{{"kind": "risk", "risk_pct": {number}}}'
    text = f'{{"name": "s", "entry_long": "close > 1", "size": {size}}}'
    with pytest.raises(SpecError, match=r"spec: size.risk_pct: a number must be finite, but got"):
        StrategySpec.from_json(text)


def test_a_json_file_names_the_key(tmp_path):
    path = tmp_path / "strategy.json"
    path.write_text('{"name": "s", "params": {"n": NaN}, "entry_long": "close > n"}')
    with pytest.raises(SpecError, match=r"strategy\.json: params\.n: a number must be finite, but got nan"):
        load_spec(path)


def test_json_that_is_none_is_told_as_before():
    with pytest.raises(SpecError, match="not a valid strategy in JSON"):
        StrategySpec.from_json("[" * 5000)
