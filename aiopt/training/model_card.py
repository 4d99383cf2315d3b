"""The model card beside trained weights: what it is, what it saw, how it did, how to make it again.

Owns its wording.  Says nothing that was not measured by the training itself; evaluation adds its own words.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime

import msgspec

from aiopt.training.base import Base
from aiopt.training.identity import Identity
from aiopt.training.loop import Look
from aiopt.training.records import Records
from aiopt.training.training_config import TrainingConfig

_Z = 1.959963984540054


def wilson(share: float, rows: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a share of `rows` independent rows."""
    middle = (share + _Z**2 / (2 * rows)) / (1 + _Z**2 / rows)
    half = _Z / (1 + _Z**2 / rows) * math.sqrt(share * (1 - share) / rows + _Z**2 / (4 * rows**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def model_card(
    config: TrainingConfig, identity: Identity, base: Base, records: Records, look: Look | None, step: int
) -> str:
    """Return the card as Markdown with the head model hubs read."""
    lines = [
        "---",
        "library_name: transformers",
        f"base_model: {base.checkpoint.model_id}",
        "tags: [aiopt, charts, forex]",
        "---",
        "",
        f"# {config.name}",
        "",
        f"Fine-tuned by aiopt from `{base.checkpoint.model_id}` (revision `{base.checkpoint.revision}`). Its "
        "licence is that of the base: look there before you use or pass it on.",
        "",
        "## Data",
        "",
        "| dataset | market | timeframe | bars | split | rows | from | to |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += _rows(records)
    lines += ["", "Only rows of the split `train` were trained on.", ""]
    if base.geometry is not None:
        lines += [
            f"Pictures: {base.geometry.describe()}; the sizes trained on are in aiopt_geometry.json.",
            "",
        ]
    lines += ["## Result", ""]
    lines += _result(config, look, step)
    lines += [
        "## Make it again",
        "",
        f"Identity `{identity.hash}`: equal configuration, data, base and code give equal steps; on a CPU "
        "with as "
        "many threads and workers, equal bits.",
        "",
        "```json",
        msgspec.json.format(msgspec.json.encode(identity.config)).decode(),
        "```",
        "",
        "| of | hash or version |",
        "|---|---|",
        f"| base | `{identity.base}` |",
        *(f"| {name} | `{version}` |" for name, version in identity.code.items()),
        "",
    ]
    return "\n".join(lines)


def _rows(records: Records) -> list[str]:
    lines = []
    for name, facts in records.facts.items():
        kind = "generated" if facts.synthetic else "market data"
        for split in sorted({file.split for file in facts.rows}):
            rows = sum(file.rows for file in facts.rows if file.split == split)
            span = facts.splits.get(split, {})
            days = [_day(span.get(key)) for key in ("first_decision_ns", "last_decision_ns")]
            lines.append(
                f"| {name} | {facts.instrument} | {facts.timeframe} | {kind} | {split} | {rows:,} | "
                f"{days[0]} | "
                f"{days[1]} |"
            )
    return lines


def _result(config: TrainingConfig, look: Look | None, step: int) -> list[str]:
    if look is None:
        return [f"Weights of step {step}. No probe was set, so nothing was measured.", ""]
    low, high = wilson(look.accuracy, look.rows)
    return [
        f"Weights of step {step}, the best on {look.rows} rows of `{config.probe.split}`: "
        f"{look.accuracy:.1%} of the answers equal the truth (95 % Wilson interval {low:.1%} to "
        f"{high:.1%}, rows taken as independent), loss {look.loss:.4f} per token.",
        "",
        "The step was chosen on these rows, so this number is too good. It is no evaluation: there are no "
        "controls (mirrored, blank, shuffled charts), no comparison with rules or the majority, and no look "
        "at the test split in it.",
        "",
    ]


def _day(ts_ns: object) -> str:
    if not isinstance(ts_ns, int):
        return "unknown"
    return datetime.fromtimestamp(ts_ns / 1e9, tz=UTC).strftime("%Y-%m-%d")
