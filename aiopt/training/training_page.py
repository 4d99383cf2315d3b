"""The page of a training: curves and sample answers in one HTML file that needs no network.

Owns its drawing.  Knows nothing of models.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from aiopt.training.identity import Identity
from aiopt.training.loop import StepReport
from aiopt.training.training_config import TrainingConfig

WIDTH, HEIGHT, MARGIN = 500, 220, 48
MOST_POINTS = 600

_STYLE = """\
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1100px;padding:0
1rem;color:#1c2733;background:#fff} h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}
figure{display:inline-block;margin:0 1rem 1rem 0;vertical-align:top}figcaption{color:#5b6b7b;font-size:.85rem}
svg{background:#f7f9fb;border:1px solid #d9e0e7}
.sample{display:flex;gap:1rem;margin:1rem 0;padding-top:1rem;border-top:1px solid #d9e0e7}
.sample img{max-width:300px;height:auto}pre{white-space:pre-wrap;margin:.2rem 0;font-size:.8rem}
.right{color:#0a7d4f}.wrong{color:#b3261e}td,th{padding:.1rem .8rem .1rem 0;text-align:left}
"""


@dataclass(frozen=True)
class SampleAnswer:
    """One answer of the trained model.

    Attributes
    ----------
    sample : str
        Name of the row.
    png : bytes or None
        What it was shown.
    truth, said : str
        The dataset's answer and the model's own, greedy.
    """

    sample: str
    png: bytes | None
    truth: str
    said: str


def training_page(
    config: TrainingConfig, identity: Identity, rows: Sequence[StepReport], samples: Sequence[SampleAnswer]
) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    config : TrainingConfig
        For the heading.
    identity : Identity
        Of the training.
    rows : sequence of StepReport
        All steps.
    samples : sequence of SampleAnswer
        Answers to show.
    """
    looks = [row for row in rows if row.look is not None]
    curves = [
        _curve("Loss per answer token, each step", [(row.step, row.loss) for row in rows], "#2563a8"),
        _curve("Learning rate", [(row.step, row.learning_rate) for row in rows], "#8a5a00"),
        _curve("Tokens per second", [(row.step, row.tokens_per_s) for row in rows], "#5b6b7b"),
    ]
    if looks:
        accuracy = [(row.step, row.look.accuracy) for row in looks if row.look is not None]
        loss = [(row.step, row.look.loss) for row in looks if row.look is not None]
        curves.insert(
            1, _curve("Probe: share of answers equal to the truth", accuracy, "#0a7d4f", (0.0, 1.0))
        )
        curves.insert(2, _curve("Probe: loss per answer token", loss, "#2563a8"))
    last = rows[-1] if rows else None
    facts = [("method", config.method), ("precision", config.precision), ("identity", identity.hash[:16])]
    if last is not None:
        facts += [
            ("steps", f"{last.step:,}"),
            ("memory", f"{last.memory_bytes / 2**30:.2f} GiB"),
            ("tokens per second", f"{last.tokens_per_s:,.0f}"),
        ]
    table = "".join(f"<tr><th>{escape(key)}</th><td>{escape(value)}</td></tr>" for key, value in facts)
    shown = "".join(map(_sample, samples)) or "<p>No probe was set, so there are none.</p>"
    title = escape(config.name)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body><h1>Training: {title}</h1><table>{table}</table>"
        f"<h2>Curves</h2>{''.join(curves)}<h2>Sample answers</h2>"
        f"<p>Rows of the probe, not trained on; greedy answers without a grammar.</p>{shown}</body></html>\n"
    )


def _curve(
    title: str, points: list[tuple[int, float]], colour: str, limits: tuple[float, float] | None = None
) -> str:
    """Return one curve with its axes as SVG."""
    if not points:
        return ""
    step = max(1, len(points) // MOST_POINTS)
    points = [*points[:-1:step], points[-1]]
    first, last = points[0][0], max(points[-1][0], points[0][0] + 1)
    values = [value for _, value in points]
    low, high = limits or (min(values), max(values))
    if high <= low:
        low, high = low - 0.5 * abs(low or 1.0), high + 0.5 * abs(high or 1.0)

    def place(point: tuple[int, float]) -> str:
        x = MARGIN + (point[0] - first) / (last - first) * (WIDTH - MARGIN - 16)
        y = 16 + (high - point[1]) / (high - low) * (HEIGHT - MARGIN)
        return f"{x:.1f},{y:.1f}"

    floor = HEIGHT - MARGIN + 16
    places = [place(point).split(",") for point in points]
    dots = "".join(f'<circle cx="{x}" cy="{y}" r="2.5" fill="{colour}"/>' for x, y in places)
    path = " ".join(map(",".join, places))
    text = 'font-size="11" fill="#5b6b7b"'
    return (
        f'<figure><svg width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{escape(title)}">'
        f'<line x1="{MARGIN}" y1="{floor}" x2="{WIDTH - 16}" y2="{floor}" stroke="#9aa8b5"/>'
        f'<line x1="{MARGIN}" y1="16" x2="{MARGIN}" y2="{floor}" stroke="#9aa8b5"/>'
        f'<text x="{MARGIN - 4}" y="20" text-anchor="end" {text}>{high:.3g}</text>'
        f'<text x="{MARGIN - 4}" y="{floor}" text-anchor="end" {text}>{low:.3g}</text>'
        f'<text x="{MARGIN}" y="{HEIGHT - 12}" {text}>step {first:,}</text>'
        f'<text x="{WIDTH - 16}" y="{HEIGHT - 12}" text-anchor="end" {text}>{last:,}</text>'
        f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{path}"/>'
        f"{dots if len(points) <= 60 else ''}</svg><figcaption>{escape(title)}</figcaption></figure>"
    )


def _sample(sample: SampleAnswer) -> str:
    right = sample.said == sample.truth
    picture = ""
    if sample.png is not None:
        source = base64.b64encode(sample.png).decode()
        picture = f'<img alt="chart of {escape(sample.sample)}" src="data:image/png;base64,{source}">'
    mark = '<b class="right">equal</b>' if right else '<b class="wrong">different</b>'
    return (
        f'<div class="sample">{picture}<div><b>{escape(sample.sample)}</b>: {mark}<br>truth'
        f"<pre>{escape(sample.truth)}</pre>answer<pre>{escape(sample.said)}</pre></div></div>"
    )
