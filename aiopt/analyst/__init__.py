"""The analyst: charts and bars in, readings and proposals out, through a model or by rules.

Owns prompts, schemas, validation, confidence, the rule-based reader and the client of an OpenAI-compatible
endpoint.  Knows nothing of engines that serve models, of runs or of Ray.  The only IO is the function
`Complete` that the caller gives, e.g. `aiopt.analyst.client.ChatClient.complete`.
"""

from aiopt.analyst.analysis import (
    MAX_BARS,
    MAX_PNG_BYTES,
    MAX_PNG_SIDE,
    Analysis,
    AnalysisRequest,
    AnalysisResult,
    Attempt,
    Bias,
    ConfidenceParts,
    PriceLevel,
    Regime,
    RequestDocument,
    VisiblePattern,
    Vote,
    png_size,
    request_from_document,
    request_from_mapping,
)
from aiopt.analyst.chat import ChatReply, ChatRequest, Complete
from aiopt.analyst.constraints import StrategyConstraints, constraints_from_mapping
from aiopt.analyst.narrowing import RangeProposal, propose_ranges
from aiopt.analyst.prompts import DEFAULT_PROMPT, PROMPTS, analysis_messages
from aiopt.analyst.proposing import Proposal, Refusal, propose_strategy, strategy_schema
from aiopt.analyst.reading import analyse
from aiopt.analyst.replies import parse_analysis
from aiopt.analyst.rule_reader import RULES_VERSION, read_by_rules
from aiopt.analyst.schema import ANALYSIS_SCHEMA, SCHEMA_VERSION
from aiopt.analyst.settings import AnalystSettings

__all__ = [
    "AnalysisRequest",
    "RequestDocument",
    "request_from_document",
    "request_from_mapping",
    "png_size",
    "MAX_BARS",
    "MAX_PNG_BYTES",
    "MAX_PNG_SIDE",
    "Analysis",
    "AnalysisResult",
    "Attempt",
    "Bias",
    "ConfidenceParts",
    "PriceLevel",
    "Regime",
    "VisiblePattern",
    "Vote",
    "ANALYSIS_SCHEMA",
    "SCHEMA_VERSION",
    "PROMPTS",
    "DEFAULT_PROMPT",
    "analysis_messages",
    "parse_analysis",
    "AnalystSettings",
    "ChatRequest",
    "ChatReply",
    "Complete",
    "analyse",
    "read_by_rules",
    "RULES_VERSION",
    "StrategyConstraints",
    "constraints_from_mapping",
    "Proposal",
    "Refusal",
    "RangeProposal",
    "propose_strategy",
    "propose_ranges",
    "strategy_schema",
]
