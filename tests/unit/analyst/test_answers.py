"""Answers: what we write and what we refuse is what the engine's own grammar accepts and rejects."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aiopt.analyst.answers import answer_text, why_refused
from aiopt.analyst.constraints import StrategyConstraints
from aiopt.analyst.proposing import strategy_schema
from aiopt.analyst.schema import ANALYSIS_SCHEMA, closed_object
from aiopt.errors import ConfigError, DataError
from aiopt.serving.engines import vllm_settings

READING: dict[str, Any] = {
    # Not in the schema's order on purpose.
    "rationale": "A fall, then a hammer – seen by the rules (µ).",
    "confidence": 0.123456789,
    "bias": "long",
    "levels": [{"strength": 1, "kind": "support", "price": 1.0876499999999998}],
    "patterns": [
        {"kind": "hammer", "first_bar": 118, "last_bar": 119, "price": 1.1},
        {"kind": "rectangle", "first_bar": 0, "last_bar": 99, "price": 151.0},
    ],
    "regime": {"volatility": "low", "trend": "sideways"},
}
WRITTEN = (
    '{"regime":{"trend":"sideways","volatility":"low"},"patterns":['
    '{"kind":"hammer","first_bar":118,"last_bar":119,"price":1.1},'
    '{"kind":"rectangle","first_bar":0,"last_bar":99,"price":151}],'
    '"levels":[{"price":1.08765,"kind":"support","strength":1}],'
    '"bias":"long","confidence":0.123457,"rationale":"A fall, then a hammer – seen by the rules (µ)."}'
)
STRATEGY = strategy_schema(StrategyConstraints())
PROPOSAL = {
    "decision": "propose",
    "family": "rsi_reversion",
    "sides": "both",
    "params": [{"name": "rsi_length", "value": 14}, {"name": "stop_atr", "value": -1.5}],
    "rationale": "",
}
SMALL = closed_object(
    {
        "signed": {"type": "number", "minimum": -1, "maximum": 1},
        "count": {"type": "integer"},
        "at": {"type": "integer", "minimum": 5, "maximum": 20},
        "free": {"type": "number"},
        "words": {"type": "string", "maxLength": 3},
    }
)


@pytest.fixture(scope="module")
def engine_accepts() -> Callable[[dict[str, Any]], Callable[[str], bool]]:
    """Return what compiles a schema as vLLM does and tells whether a text is of that grammar."""
    xgrammar = pytest.importorskip("xgrammar", reason="xgrammar comes with vLLM, which is not installed")
    vocabulary = [bytes([value]) for value in range(256)] + [b"<end>"]
    tokens = xgrammar.TokenizerInfo(
        vocabulary, vocab_type=xgrammar.VocabType.RAW, vocab_size=257, stop_token_ids=[256]
    )
    compiler = xgrammar.GrammarCompiler(tokens)

    def compiled(schema: dict[str, Any]) -> Callable[[str], bool]:
        # As `vllm.v1.structured_output.backend_xgrammar` with `disable_any_whitespace`; see the test below.
        grammar = compiler.compile_json_schema(
            json.dumps(schema), any_whitespace=False, separators=(",", ":")
        )

        def accepts(text: str) -> bool:
            matcher = xgrammar.GrammarMatcher(grammar)
            return all(matcher.accept_token(one) for one in text.encode()) and matcher.accept_token(256)

        return accepts

    return compiled


def test_vllm_compiles_schemas_as_this_test_does() -> None:
    found = importlib.util.find_spec("vllm")
    if found is None or found.origin is None:
        pytest.skip("vLLM is not installed")
    source = (Path(found.origin).parent / "v1/structured_output/backend_xgrammar.py").read_text()
    assert 'separators = (",", ":") if self.disable_any_whitespace else None' in source
    assert "any_whitespace=not self.disable_any_whitespace" in source
    settings = Path(vllm_settings.__file__).read_text()
    assert '{"backend": "xgrammar", "disable_any_whitespace": True}' in settings


def test_answers_are_written_in_the_order_of_the_schema() -> None:
    assert answer_text(READING, ANALYSIS_SCHEMA) == WRITTEN
    assert json.loads(answer_text(PROPOSAL, STRATEGY)) == PROPOSAL


@pytest.mark.parametrize(
    ("value", "schema"), [(READING, ANALYSIS_SCHEMA), (PROPOSAL, STRATEGY)], ids=["analysis", "strategy"]
)
def test_the_engine_accepts_what_is_written_and_nothing_else_that_is_said_of_it(
    engine_accepts: Callable[[dict[str, Any]], Callable[[str], bool]],
    value: dict[str, Any],
    schema: dict[str, Any],
) -> None:
    accepts, text = engine_accepts(schema), answer_text(value, schema)
    assert accepts(text)
    for other in (
        json.dumps(value),  # another order, and spaces
        json.dumps(json.loads(text)),  # the right order, with spaces
        json.dumps(value, separators=(",", ":"), sort_keys=True),
    ):
        assert not accepts(other)
        assert why_refused(other, schema)
    # One character changed, left out or doubled: both say the same of every such text.
    rng = np.random.default_rng(3)
    agreed = {True: 0, False: 0}
    for _ in range(400):
        at = int(rng.integers(len(text)))
        put = str(rng.choice([*'0123456789"\\,:{}[] .-eE\nxé', text[at] * 2, ""]))
        other = text[:at] + put + text[at + 1 :]
        assert (why_refused(other, schema) == "") == accepts(other), other
        agreed[accepts(other)] += 1
    assert min(agreed.values()) > 5, "texts of both sorts were tried"


def test_every_form_of_number_and_text_is_judged_as_the_engine_does(
    engine_accepts: Callable[[dict[str, Any]], Callable[[str], bool]],
) -> None:
    numbers = ("0", "-0", "1", "-1", "01", "5", "20", "21", "0.5", "-0.5", "1.0", "1.000001", "0.1234567")
    numbers += ("1e2", "1E-05", ".5", "1.", "-0.0", "0.000000", "12345678901234567890", "0.10", "")
    words = ("", "abc", "abcd", "ééé", "a b", "a\tb", "a\nb", 'a"b', "a\\b", "😀😀😀")
    accepts = engine_accepts(SMALL)
    base = {"signed": "0", "count": "1", "at": "7", "free": "1", "words": '"x"'}
    for name in base:
        for form in numbers if name != "words" else (f'"{word}"' for word in words):
            text = "{" + ",".join(f'"{key}":{form if key == name else v}' for key, v in base.items()) + "}"
            assert (why_refused(text, SMALL) == "") == accepts(text), text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bias": "up"}, r"answer\.bias must be one of long, short, neutral, but is .{2}up"),
        ({"confidence": 1.2}, r"answer\.confidence must keep to minimum 0, maximum 1, but is 1\.2"),
        ({"confidence": float("nan")}, r"answer\.confidence must be a finite number"),
        ({"confidence": True}, r"answer\.confidence must be a finite number"),
        ({"rationale": 'He said "up".'}, r"answer\.rationale must be text without quotes"),
        ({"rationale": "x" * 601}, r"may have 600 characters, but has 601"),
        ({"levels": [{"price": 1e-7, "kind": "support", "strength": 0}]}, r"levels\[0\]\.price must keep to"),
        ({"patterns": [READING["patterns"][0]] * 9}, r"answer\.patterns may have 8 items"),
        ({"patterns": "none"}, r"answer\.patterns must be a list"),
        ({"regime": {"trend": "up"}}, r"answer\.regime must have the keys trend, volatility"),
    ],
)
def test_a_value_the_grammar_cannot_write_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        answer_text({**READING, **change}, ANALYSIS_SCHEMA)


def test_half_a_bar_is_no_bar() -> None:
    with pytest.raises(DataError, match=r"must be a whole number, but is 2\.5"):
        answer_text(2.5, {"type": "integer"})


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string"},
        {"type": "string", "pattern": "x"},
        {"type": "object", "properties": {}, "required": []},
        {"type": "array", "items": {"type": "integer"}},
        {"anyOf": []},
    ],
)
def test_a_schema_beyond_this_form_is_not_guessed_at(schema: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="must be of the kinds that answers are written in"):
        why_refused("1", schema)
