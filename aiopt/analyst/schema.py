"""The JSON schema of a model's analysis.  Owns the wire format and its version; validates nothing itself.

`ANALYSIS_SCHEMA` constrains what a model can say; `aiopt.analyst.replies` checks what a schema cannot
express (bars that exist, prices near the chart) and everything again, since not every endpoint enforces it.
"""

from __future__ import annotations

from typing import Any

from aiopt.analyst.analysis import BIASES, MAX_BARS
from aiopt.patterns import PATTERN_KINDS

SCHEMA_VERSION = "analysis/1"

MAX_PATTERNS = 8
MAX_LEVELS = 8
MAX_RATIONALE = 600
MAX_REPLY = 16_000
"""Most characters of a reply that are looked at."""


def closed_object(properties: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an object with exactly these properties."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


_BAR = {"type": "integer", "minimum": 0, "maximum": MAX_BARS - 1}
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
_PRICE = {"type": "number", "exclusiveMinimum": 0}

ANALYSIS_SCHEMA: dict[str, Any] = closed_object(
    {
        "regime": closed_object(
            {
                "trend": {"type": "string", "enum": ["up", "down", "sideways"]},
                "volatility": {"type": "string", "enum": ["low", "normal", "high"]},
            }
        ),
        "patterns": {
            "type": "array",
            "maxItems": MAX_PATTERNS,
            "items": closed_object(
                {
                    "kind": {"type": "string", "enum": list(PATTERN_KINDS)},
                    "first_bar": _BAR,
                    "last_bar": _BAR,
                    "price": _PRICE,
                }
            ),
        },
        "levels": {
            "type": "array",
            "maxItems": MAX_LEVELS,
            "items": closed_object(
                {
                    "price": _PRICE,
                    "kind": {"type": "string", "enum": ["support", "resistance"]},
                    "strength": _SHARE,
                }
            ),
        },
        "bias": {"type": "string", "enum": list(BIASES)},
        "confidence": _SHARE,
        "rationale": {"type": "string", "maxLength": MAX_RATIONALE},
    }
)
"""What a model must answer; every key required, no other allowed."""
