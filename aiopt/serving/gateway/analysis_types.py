"""Bodies of `/analyze` and `/strategy`.  Owns their fields; the market's own are `aiopt.analyst`'s."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from aiopt.analyst import Analysis, AnalysisResult, Attempt, RequestDocument, StrategyConstraints

ModelName = Annotated[str, Meta(min_length=1, max_length=256)]
Reader = Literal["model", "rules"]


class AnalyzeOne(RequestDocument, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One market to read.

    Attributes
    ----------
    model : str or None
        Served name; None for the default model.
    reader : {"model", "rules"}
        ``"rules"`` asks no model.
    """

    model: ModelName | None = None
    reader: Reader = "model"


class AnalyzeBatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Several markets to read, each as in `AnalyzeOne` without `model` and `reader`.

    Attributes
    ----------
    items : list of objects
        An item that breaks a rule gets an error in its place; the others are read.
    model, reader
        As for `AnalyzeOne`.
    """

    items: Annotated[list[dict[str, Any]], Meta(min_length=1)]
    model: ModelName | None = None
    reader: Reader = "model"


class StrategyOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A reading, and what a strategy for it must keep to.

    Attributes
    ----------
    analysis : Analysis
        As `/analyze` returned it.
    constraints : StrategyConstraints
        Families, sides, stops, hours, least confidence.
    timeframe : str
        Bar length of the reading, where the constraints name none.
    model, reader
        As for `AnalyzeOne`.
    """

    analysis: Analysis
    constraints: StrategyConstraints = StrategyConstraints()
    timeframe: str = ""
    model: ModelName | None = None
    reader: Reader = "model"


class StrategyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A strategy to try, or which rule forbade one.

    Attributes
    ----------
    outcome : {"proposal", "refusal"}
        Which it is.
    spec : dict or None
        A valid StrategySpec, as `aiopt backtest` and `aiopt optimize` read it.
    spec_hash : str
        Hash of its content; empty for a refusal.
    search_space : str
        YAML of the ranges round it to sweep; empty for a refusal.
    timeframe : str
        Bar length it is meant for.
    rule : str
        Constraint that forbade a strategy; empty for a proposal.
    reason : str
        Why this one, or why none.
    source : {"model", "rules"}
        Who answered.
    model_id, model_revision : str
        Of the model; ``"rules"`` and their version otherwise.
    fallback_reason : str
        Why the rules answered although a model was asked.
    attempts : tuple of Attempt
        Every question asked.
    """

    outcome: Literal["proposal", "refusal"]
    spec: dict[str, Any] | None = None
    spec_hash: str = ""
    search_space: str = ""
    timeframe: str = ""
    rule: str = ""
    reason: str
    source: Reader
    model_id: str
    model_revision: str = ""
    fallback_reason: str = ""
    attempts: tuple[Attempt, ...] = ()


class BatchItem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Result of one item: a result or an error.

    Attributes
    ----------
    index : int
        Position in the request.
    result : AnalysisResult or None
        The reading.
    error : dict or None
        As in an error answer, with its HTTP ``status``.
    """

    index: int
    result: AnalysisResult | None = None
    error: dict[str, Any] | None = None


class BatchResult(msgspec.Struct, frozen=True, kw_only=True):
    """Results in the order of the items.

    Attributes
    ----------
    items : list of BatchItem
        One per item.
    completed, failed : int
        How many of each.
    """

    items: list[BatchItem]
    completed: int
    failed: int
