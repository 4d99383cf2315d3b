"""The page of a comparison: verdict, intervals, controls; one HTML file that needs no network.

Owns its drawing.  Judges nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING

from aiopt.analyst.pairing import PairedShares
from aiopt.analyst.scoring import Share

if TYPE_CHECKING:
    from aiopt.dataset.judging.judging import TaskScore
    from aiopt.promotion.comparison import Comparison, Side

WIDTH, ROW = 360, 22
CONTROLS = ("mirrored", "noisy", "shuffled", "blank")

_STYLE = """\
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1080px;padding:0 1rem;color:#1c2733;
background:#fff}h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}td,th{padding:.15rem .9rem .15rem 0;
text-align:left;white-space:nowrap}td.n,th.n{text-align:right}p.note{color:#5b6b7b;max-width:46rem}
.verdict{font-size:1.15rem;padding:.7rem 1rem;border-left:5px solid;background:#f7f9fb}
.yes{border-color:#0a7d4f}.no{border-color:#b3261e}.proposal{border-color:#b07d00}
.wide{overflow-x:auto}code{font-size:.85rem}
"""

_WORDS = {
    "yes": "Promote: yes. The rule's every condition holds.",
    "no": "Promote: no.",
    "proposal": "Promote: a proposal. A person has to decide.",
}


def comparison_page(result: Comparison) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    result : Comparison
        What came out.
    """
    decision = result.decision
    reasons = "".join(f"<li>{escape(text)}</li>" for text in decision.reasons)
    looks = (
        "This is the first look at this split."
        if result.look == 1
        else f"This is look {result.look} at this split: only the first was at charts nobody had used."
    )
    return "".join(
        [
            '<!doctype html><html lang="en"><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width,initial-scale=1">',
            f"<title>{_title(result)}</title>",
            f"<style>{_STYLE}</style>",
            f"<h1>{_title(result)}</h1>",
            f'<div class="verdict {decision.promote}">{_WORDS[decision.promote]}<ul>{reasons}</ul></div>',
            f'<p class="note">Both read the same charts: split <b>{escape(result.split)}</b> of '
            f"<code>{escape(result.data)}</code> (set <code>{escape(result.set_key[:12])}</code>). "
            f"{looks}</p>",
            "<h2>Gain of the second over the first</h2>",
            _gains(result),
            _note("Paired on the same charts; 95 % intervals: charts drawn again with all their questions."),
            "<h2>Right answers</h2>",
            _shares(result),
            _note("95 % Wilson intervals."),
            "<h2>Controls</h2>",
            _controls(result),
            _note(
                "Some of the charts, changed. Mirrored charts should be read as well as upright ones; "
                "shuffled and blank ones keep the answer of the upright chart, so nobody should be right on "
                "them more often than the majority is, or than shuffled bars still show the answer (still "
                "shown)."
            ),
            "<h2>Who was compared</h2>",
            _sides(result),
        ]
    )


def _title(result: Comparison) -> str:
    """Return who was compared; two of one name with the beginning of their revisions."""
    second, first = result.second.model_id, result.first.model_id
    if second == first:
        second, first = f"{second} {result.second.revision[:12]}", f"{first} {result.first.revision[:12]}"
    return escape(f"{second} against {first}")


def _note(text: str) -> str:
    return f'<p class="note">{text}</p>'


def _gains(result: Comparison) -> str:
    edge = max(0.05, *(max(abs(pair.low), abs(pair.high)) for pair in result.compared.values()))
    rows = []
    for name, pair in result.compared.items():
        rows.append(
            f'<tr><td>{escape(name)}</td><td class="n">{pair.questions:,}</td>'
            f'<td class="n">{pair.second:.1%}</td><td class="n">{pair.first:.1%}</td>'
            f'<td class="n">{pair.difference:+.1%}</td>'
            f'<td class="n">[{pair.low:+.1%}, {pair.high:+.1%}]</td><td>{_whisker(pair, edge)}</td></tr>'
        )
    head = "".join(
        f"<th{c}>{text}</th>"
        for text, c in (
            ("task", ""),
            ("questions", ' class="n"'),
            ("first", ' class="n"'),
            ("second", ' class="n"'),
            ("gain", ' class="n"'),
            ("interval", ' class="n"'),
            ("", ""),
        )
    )
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _whisker(pair: PairedShares, edge: float) -> str:
    """Draw an interval round zero."""

    def x(value: float) -> float:
        return WIDTH / 2 + value / edge * (WIDTH / 2 - 6)

    colour = {"first": "#0a7d4f", "second": "#b3261e", "open": "#5b6b7b"}[pair.verdict]
    middle = ROW / 2
    return (
        f'<svg width="{WIDTH}" height="{ROW}" role="img" aria-label="{pair.difference:+.1%}">'
        f'<line x1="{WIDTH / 2}" x2="{WIDTH / 2}" y1="0" y2="{ROW}" stroke="#c3ccd5"/>'
        f'<line x1="{x(pair.low):.1f}" x2="{x(pair.high):.1f}" y1="{middle}" y2="{middle}" stroke="{colour}" '
        f'stroke-width="3"/><circle cx="{x(pair.difference):.1f}" cy="{middle}" r="4" fill="{colour}"/></svg>'
    )


def _shares(result: Comparison) -> str:
    """Return who was right how often, beside majority and rules."""
    names = ("right", "majority", "rules")
    return _table(
        result, names, lambda score: tuple(map(_share, (score.accuracy, score.majority, score.rules)))
    )


def _controls(result: Comparison) -> str:
    """Return the same charts upright and as controls."""
    return _table(
        result,
        ("upright", *CONTROLS, "still shown"),
        lambda score: (
            _share(score.controls_upright),
            *(_share(score.controls.get(name)) for name in CONTROLS),
            _share(score.shuffled_explained, bare=True),
        ),
    )


def _table(result: Comparison, names: Sequence[str], cells: Callable[[TaskScore], Sequence[str]]) -> str:
    """Return a table with a row for each task and side, in the order of the tasks compared."""
    rows = []
    sides = [
        (word, {score.task: score for score in side.judgement.scores})
        for word, side in (("first", result.first), ("second", result.second))
    ]
    for task in result.compared:
        for word, scores in sides:
            if task in scores:
                texts = "".join(f'<td class="n">{one}</td>' for one in cells(scores[task]))
                rows.append(f"<tr><td>{escape(task)}</td><td>{word}</td>{texts}</tr>")
    head = "".join(f'<th class="n">{name}</th>' for name in names)
    return f'<div class="wide"><table><tr><th>task</th><th></th>{head}</tr>{"".join(rows)}</table></div>'


def _share(share: Share | None, *, bare: bool = False) -> str:
    if share is None or share.value is None:
        return ""
    if bare:
        return f"{share.value:.0%}"
    return f"{share.value:.0%} [{share.low:.0%}, {share.high:.0%}]"


def _sides(result: Comparison) -> str:
    def row(word: str, side: Side) -> str:
        seen = ", ".join(side.trained_on) or "nothing that it says"
        more = "" if side.known else " (not all is known)"
        return (
            f"<tr><td>{word}</td><td>{escape(side.source)}</td><td><code>{side.revision[:12]}</code></td>"
            f"<td>{escape(seen)}{more}</td></tr>"
        )

    head = "<tr><th></th><th>named</th><th>revision</th><th>trained on</th></tr>"
    return f"<table>{head}{row('first', result.first)}{row('second', result.second)}</table>"
