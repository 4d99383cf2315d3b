"""The tasks: what is asked of a chart, in which words, and what answers it.

Owns the questions, the answers' schemas and where each answer comes from.  Every answer is of one *origin*:

- ``definition``: what the chart shows, by `aiopt.analyst.shown`; known of any bars;
- ``planted``: what a generator put there; known of generated charts alone;
- ``rules``: what the rule-based proposer would do; a model trained on it imitates the rules;
- ``future``: what came after the chart.  It is never what the chart shows and no input of any other task.

Draws no chart and writes no file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from aiopt.analyst.analysis import Analysis, AnalysisRequest
from aiopt.analyst.constraints import StrategyConstraints
from aiopt.analyst.generators import UNPLANTED
from aiopt.analyst.planted import PlantedCase
from aiopt.analyst.prompts import DEFAULT_PROMPT, analysis_messages, describe
from aiopt.analyst.proposing import Refusal, propose_by_rules, strategy_messages, strategy_schema
from aiopt.analyst.rule_reader import read_by_rules
from aiopt.analyst.schema import ANALYSIS_SCHEMA, closed_object
from aiopt.analyst.short_reading import BIAS_QUESTION, SHORT_SYSTEM, short_text
from aiopt.analyst.shown import (
    DEFINITIONS,
    label_of,
    resistance_price,
    support_price,
)
from aiopt.bars.schema import BarArrays
from aiopt.dataset.tasks.task_config import ForwardConfig

Origin = Literal["definition", "planted", "rules", "future"]

TASK_VERSION = "task/1"
"""Of questions and answers; a changed wording is a new version."""

SYSTEM = SHORT_SYSTEM

_KINDS: list[str] = ANALYSIS_SCHEMA["properties"]["patterns"]["items"]["properties"]["kind"]["enum"]
_NO_KIND = "none"
_FORWARD = ForwardConfig()


@dataclass(frozen=True, eq=False, kw_only=True)
class Chart:
    """A chart and what is known of it.

    Attributes
    ----------
    bars : BarArrays
        What is shown.
    case : PlantedCase or None
        What was planted.
    later_close : float or None
        Close `ForwardConfig.horizon` bars after the last one; of real bars alone, None where there is none.
    forward : ForwardConfig
        How that move is classed.
    outcome : (str, str) or None
        Side and result (win, loss, flat) of a position that was opened behind the last bar.
    """

    bars: BarArrays
    case: PlantedCase | None = None
    later_close: float | None = None
    forward: ForwardConfig = _FORWARD
    outcome: tuple[str, str] | None = None

    @cached_property
    def by_rules(self) -> Analysis:
        """What the rule-based reader sees in it."""
        return read_by_rules(self.request())

    def request(self) -> AnalysisRequest:
        """Return what an analyst would be asked; the picture is kept beside it."""
        return AnalysisRequest(bars=self.bars)


@dataclass(frozen=True)
class Task:
    """Something to ask of a chart.

    Attributes
    ----------
    name : str
        In records.
    question : str
        Asked after the chart; empty where the analyst's own messages ask.
    origin : str
        Where its answers come from.
    schema : callable
        Returns the JSON schema of the answer to a chart of so many bars.
    answer : callable
        Returns the answer to a chart, None where it has none.
    choice : callable
        Returns the class of an answer, by which balance is counted; None where answers have none.
    pictured : bool
        Whether the chart is part of the question.
    """

    name: str
    question: str
    origin: Origin
    schema: Callable[[int], dict[str, Any]]
    answer: Callable[[Chart], Mapping[str, Any] | None]
    choice: Callable[[Mapping[str, Any]], str | None]
    pictured: bool = True

    @property
    def from_future(self) -> bool:
        """Whether the answer reads bars after the chart."""
        return self.origin == "future"

    def messages(self, chart: Chart, *, numbers: bool) -> list[dict[str, Any]]:
        """Return the system's and the user's message, in the form of chat templates.

        Parameters
        ----------
        chart : Chart
            What is asked about; nothing of it but `bars` is read.
        numbers : bool
            Write the bars out as well.
        """
        if self.name == "strategy":
            system, user = strategy_messages(chart.by_rules, _CONSTRAINTS, chart.bars.timeframe.label)
            return [_message("system", system["content"]), _message("user", user["content"])]
        if self.name == "analysis":
            system, user = analysis_messages(chart.request(), DEFAULT_PROMPT, picture=False, numbers=numbers)
            return [_message("system", system["content"]), _message("user", user["content"], pictured=True)]
        n_bars = len(chart.bars)
        numbered = f"{describe(chart.request())}\n{self.question}" if numbers else ""
        text = numbered or short_text(n_bars, self.question)
        return [_message("system", SYSTEM), _message("user", text, pictured=True)]


def _message(role: str, text: str, *, pictured: bool = False) -> dict[str, Any]:
    picture: list[dict[str, Any]] = [{"type": "image", "text": None}] if pictured else []
    return {"role": role, "content": [*picture, {"type": "text", "text": text}]}


def _enum(*choices: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(choices)}


def _single(name: str, *choices: str) -> Callable[[int], dict[str, Any]]:
    return lambda n_bars: closed_object({name: _enum(*choices)})


# --- answers ----------------------------------------------------------------------------------------------


def _regime(chart: Chart) -> Mapping[str, Any] | None:
    trend, volatility = label_of(chart.bars, "trend"), label_of(chart.bars, "volatility")
    return None if trend is None else {"trend": trend, "volatility": volatility}


def _levels(chart: Chart) -> Mapping[str, Any]:
    return {"support": support_price(chart.bars), "resistance": resistance_price(chart.bars)}


def _bias(chart: Chart) -> Mapping[str, Any] | None:
    case = chart.case
    return None if case is None or case.generator in UNPLANTED else {"bias": case.bias}


def _pattern(chart: Chart) -> Mapping[str, Any] | None:
    case = chart.case
    if case is None or case.generator != "templates":
        return None
    return {"kind": case.kind, "first_bar": case.first_bar, "last_bar": case.last_bar}


def _state(chart: Chart) -> Mapping[str, Any] | None:
    case = chart.case
    if case is None or case.trend is None:
        return None
    return {"trend": case.trend, "volatility": case.volatility}


def forward_class(bars: BarArrays, later_close: float, config: ForwardConfig) -> str:
    """Return up, down or flat: the move to a later close against the mean range of the bars shown."""
    move = later_close - float(bars.close[-1])
    size = config.threshold * float((bars.high - bars.low).mean())
    if abs(move) < size or move == 0:
        return "flat"
    return "up" if move > 0 else "down"


def _forward(chart: Chart) -> Mapping[str, Any] | None:
    if chart.later_close is None:
        return None
    return {"forward": forward_class(chart.bars, chart.later_close, chart.forward)}


def _strategy(chart: Chart) -> Mapping[str, Any] | None:
    label = chart.bars.timeframe.label
    found = propose_by_rules(chart.by_rules, _CONSTRAINTS, label, None)
    if isinstance(found, Refusal):
        return {"decision": "refuse", "family": _ANY_FAMILY, "sides": "both", "params": [], "rationale": ""}
    names = [name for name in found.space.dimensions if isinstance(found.spec.params[name], int | float)]
    return {
        "decision": "propose",
        "family": found.spec.name.removesuffix("_proposed"),
        "sides": "both",
        "params": [{"name": name, "value": found.spec.params[name]} for name in names],
        "rationale": found.rationale,
    }


def _analysis(chart: Chart) -> Mapping[str, Any] | None:
    """Return the whole analysis of a planted chart: every part is known, so confidence is 1."""
    case, regime = chart.case, _regime(chart)
    if case is None or regime is None or case.generator in UNPLANTED:
        return None
    bars, planted = chart.bars, case.kind in _KINDS
    pattern = {
        "kind": case.kind,
        "first_bar": case.first_bar,
        "last_bar": case.last_bar,
        "price": float(bars.close[case.last_bar]),
    }
    seen = f"a {case.kind.replace('_', ' ')} at bars {case.first_bar} to {case.last_bar}"
    return {
        "regime": regime,
        "patterns": [pattern] if planted else [],
        "levels": [
            {"price": support_price(bars), "kind": "support", "strength": 1},
            {"price": resistance_price(bars), "kind": "resistance", "strength": 1},
        ],
        "bias": case.bias,
        "confidence": 1,
        "rationale": f"Trend {regime['trend']}, volatility {regime['volatility']}, "
        f"{seen if planted else 'no pattern'}.",
    }


def _outcome(side: str) -> Task:
    name = f"outcome_{side}"

    def answer(chart: Chart) -> Mapping[str, Any] | None:
        known = chart.outcome
        return None if known is None or known[0] != side else {"outcome": known[1]}

    return Task(
        name,
        f"A {side} position is opened behind the last bar of this chart. How does it end, after costs: win, "
        "loss or flat?",
        "future",
        _single("outcome", "win", "loss", "flat"),
        answer,
        lambda found: str(found["outcome"]),
    )


_CONSTRAINTS = StrategyConstraints()
_ANY_FAMILY = sorted(_CONSTRAINTS.families)[0]


def _pattern_schema(n_bars: int) -> dict[str, Any]:
    bar = {"type": "integer", "minimum": 0, "maximum": n_bars - 1}
    return closed_object({"kind": _enum(*_KINDS, _NO_KIND), "first_bar": bar, "last_bar": bar})


def _levels_schema(n_bars: int) -> dict[str, Any]:
    price = {"type": "number", "exclusiveMinimum": 0}
    return closed_object({"support": price, "resistance": price})


def _regime_schema(n_bars: int) -> dict[str, Any]:
    return closed_object({name: _enum(*DEFINITIONS[name].choices) for name in ("trend", "volatility")})


def _both(answer: Mapping[str, Any]) -> str:
    return f"{answer['trend']}, {answer['volatility']}"


def _defined(name: str) -> Task:
    definition = DEFINITIONS[name]

    def answer(chart: Chart) -> Mapping[str, Any] | None:
        label = label_of(chart.bars, name)
        return None if label is None else {name: label}

    return Task(
        name,
        definition.question,
        "definition",
        _single(name, *definition.choices),
        answer,
        lambda found: str(found[name]),
    )


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        *map(_defined, DEFINITIONS),
        Task(
            "regime",
            "Name the trend (last close against first, a third of the range or more) and the volatility "
            "(ranges of the last quarter of the bars against those before, 1.5 times or more, or less).",
            "definition",
            _regime_schema,
            _regime,
            _both,
        ),
        Task(
            "levels",
            "Give the lowest low (support) and the highest high (resistance) of all bars but the last 20.",
            "definition",
            _levels_schema,
            _levels,
            lambda found: None,
        ),
        Task(
            "bias",
            BIAS_QUESTION,
            "planted",
            _single("bias", "long", "short", "neutral"),
            _bias,
            lambda found: str(found["bias"]),
        ),
        Task(
            "pattern",
            "Which pattern is in this chart, and at which bars (0 is the leftmost)? Say none at bars 0 and 0 "
            "if there is none.",
            "planted",
            _pattern_schema,
            _pattern,
            lambda found: str(found["kind"]),
        ),
        Task(
            "state",
            "Is the price at the end of this chart drifting up, drifting down or going sideways, and are its "
            "steps smaller than before (low), as before (normal) or larger (high)?",
            "planted",
            _regime_schema,
            _state,
            _both,
        ),
        Task(
            "forward",
            "Where will the price be later: up, down or flat?",
            "future",
            _single("forward", "up", "down", "flat"),
            _forward,
            lambda found: str(found["forward"]),
        ),
        Task(
            "strategy",
            "",
            "rules",
            lambda n_bars: strategy_schema(_CONSTRAINTS),
            _strategy,
            lambda found: str(found["family"]) if found["decision"] == "propose" else "refuse",
            pictured=False,
        ),
        Task(
            "analysis",
            "",
            "planted",
            lambda n_bars: ANALYSIS_SCHEMA,
            _analysis,
            lambda found: str(found["bias"]),
        ),
        _outcome("long"),
        _outcome("short"),
    )
}
"""Every task by name."""


def without_range(bars: BarArrays) -> bool:
    """Tell whether all prices of bars are one: there is nothing to see."""
    return bool(np.ptp(np.concatenate((bars.high, bars.low))) == 0)
