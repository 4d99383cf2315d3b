"""The picture of an evaluation: tables, reliability diagram and confusion in HTML.  Owns markup only.

Self-contained: no script, no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from aiopt.analyst.analysis import BIASES
from aiopt.analyst.evaluating import HORIZON, Scores
from aiopt.analyst.scoring import Calibration, Share

_STYLE = """
:root{color-scheme:light dark;--ink:#17202e;--soft:#5a6779;--rule:#d5dbe4;--page:#fff;--bar:#1556b8;
  --gap:#c2501c}
@media (prefers-color-scheme:dark){
  :root{--ink:#e6ecf4;--soft:#9aa8bb;--rule:#334056;--page:#10161f;--bar:#6fb0ff;--gap:#f08a5d}}
body{margin:2rem auto;max-width:62rem;padding:0 1.2rem;background:var(--page);color:var(--ink);
  font:15px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin:2rem 0 .4rem}
table{border-collapse:collapse;margin:.5rem 0}
th,td{padding:4px 12px 4px 0;text-align:left;border-bottom:1px solid var(--rule)}
td.n,th.n{text-align:right;padding-left:12px;font-variant-numeric:tabular-nums}
p,figcaption{color:var(--soft);max-width:70ch}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(22rem,1fr));gap:1.5rem}
figure{margin:.5rem 0}
svg{width:100%;max-width:26rem;height:auto;font:12px system-ui,sans-serif}svg text{fill:var(--soft)}
"""


def eval_page(title: str, notes: Sequence[str], baselines: dict[str, float], scores: Sequence[Scores]) -> str:
    """Return the page of an evaluation.

    Parameters
    ----------
    title : str
        Heading.
    notes : sequence of str
        What was read, and what the numbers cannot tell.
    baselines : dict
        Name to accuracy of guessing.
    scores : sequence of Scores
        One per reader.
    """
    parts = [f"<h1>{escape(title)}</h1>", *(f"<p>{escape(note)}</p>" for note in notes), "<h2>Scores</h2>"]
    heads = "".join(f'<th class="n">{escape(one.reader)}</th>' for one in scores)
    rows = []
    for name, texts in score_rows(scores, baselines):
        cells = "".join(f'<td class="n">{escape(text)}</td>' for text in texts)
        rows.append(f"<tr><td>{escape(name)}</td>{cells}</tr>")
    parts.append(f"<table><tr><th>figure</th>{heads}</tr>{''.join(rows)}</table>")
    for one in scores:
        if one.circular:
            continue
        parts.append(f"<h2>{escape(one.reader)}</h2><div class='two'>")
        parts.append(_reliability(one.calibration))
        parts.append(_confusion(one))
        parts.append("</div>")
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>{body}</body></html>\n"
    )


def score_rows(scores: Sequence[Scores], baselines: dict[str, float]) -> list[tuple[str, list[str]]]:
    """Return the table of an evaluation: the name of a figure and its text per reader."""

    def of(name: str, *texts: str) -> tuple[str, list[str]]:
        return name, list(texts)

    def own(one: Scores, text: str) -> str:
        return "circular" if one.circular else text

    guess = ", ".join(f"{name} {value:.0%}" for name, value in baselines.items())
    return [
        of("valid answers", *(share_text(one.valid) for one in scores)),
        of(f"bias right ({guess})", *(own(one, share_text(one.bias)) for one in scores)),
        of("pattern named", *(own(one, share_text(one.named)) for one in scores)),
        of(
            "… by the reading of another kind of chart",
            *(own(one, _percent(one.named_by_chance)) for one in scores),
        ),
        of("patterns named per chart", *(f"{one.patterns_per_chart:.1f}" for one in scores)),
        of("mirrored chart, mirrored bias", *(share_text(one.mirror) for one in scores)),
        of("shuffled bars, bias still right", *(share_text(one.shuffled) for one in scores)),
        of("blank chart called neutral", *(share_text(one.blank_neutral) for one in scores)),
        of("patterns named per blank chart", *(f"{one.blank_patterns:.1f}" for one in scores)),
        of("long among long and short (truth: 50%)", *(share_text(one.long_share) for one in scores)),
        of(
            "calibration error of the confidence", *(own(one, _number(one.calibration.ece)) for one in scores)
        ),
        *(
            [of("… after a map fitted on other charts", *(own(one, _mapped(one)) for one in scores))]
            if any(one.calibrated is not None for one in scores)
            else []
        ),
        of("Brier score (of the overall accuracy)", *(own(one, _brier(one.calibration)) for one in scores)),
        of(
            "… of what the reader said of itself",
            *(own(one, _brier(one.stated_calibration)) for one in scores),
        ),
        *(
            [of(f"next {HORIZON} bars went that way", *(share_text(one.followed) for one in scores))]
            if any(one.followed.n for one in scores)
            else []
        ),
    ]


def share_text(share: Share) -> str:
    """Return ``63% [57, 69] of 300``."""
    if share.value is None:
        return "–"
    return f"{share.value:.0%} [{100 * share.low:.0f}, {100 * share.high:.0f}] of {share.n}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _mapped(one: Scores) -> str:
    return "–" if one.calibrated is None else _number(one.calibrated.ece)


def _brier(found: Calibration) -> str:
    return "–" if found.brier is None else f"{found.brier:.3f} ({found.brier_base:.3f})"


def _reliability(found: Calibration) -> str:
    left, top, size = 44, 10, 240
    marks = [
        f'<rect x="{left}" y="{top}" width="{size}" height="{size}" fill="none" stroke="var(--rule)"/>',
        f'<path d="M{left} {top + size}L{left + size} {top}" stroke="var(--soft)" stroke-dasharray="4 4"/>',
    ]
    for tick in range(0, 6):
        x, y = left + size * tick / 5, top + size - size * tick / 5
        marks.append(f'<text x="{x:.0f}" y="{top + size + 16}" text-anchor="middle">{tick / 5:.1f}</text>')
        marks.append(f'<text x="{left - 6}" y="{y + 4:.0f}" text-anchor="end">{tick / 5:.1f}</text>')
    for part in found.bins:
        if part.confidence is None or part.accuracy is None:
            continue
        x, width = left + size * part.low, size * (part.high - part.low)
        y = top + size * (1 - part.accuracy)
        marks.append(
            f'<rect x="{x + 2:.1f}" y="{y:.1f}" width="{width - 4:.1f}" height="{top + size - y:.1f}" '
            'fill="var(--bar)" fill-opacity="0.55"/>'
        )
        said = top + size * (1 - part.confidence)
        marks.append(
            f'<path d="M{x + 2:.1f} {said:.1f}h{width - 4:.1f}" stroke="var(--gap)" stroke-width="2"/>'
        )
        middle, label = x + width / 2, max(min(y, said) - 4, top + 10)
        marks.append(f'<text x="{middle:.1f}" y="{label:.1f}" text-anchor="middle">{part.n}</text>')
    marks.append(f'<text x="{left + size / 2}" y="{top + size + 34}" text-anchor="middle">confidence</text>')
    svg = f'<svg viewBox="0 0 300 290" role="img" aria-label="Reliability diagram">{"".join(marks)}</svg>'
    caption = (
        "Bars: share of right answers per band of confidence, with the number of answers. "
        "Lines: mean confidence of the band. They meet where confidence tells the truth."
    )
    return f"<figure>{svg}<figcaption>{caption}</figcaption></figure>"


def _confusion(one: Scores) -> str:
    columns = [*BIASES, "invalid"]
    heads = "".join(f'<th class="n">{name}</th>' for name in columns)
    rows = []
    for truth in BIASES:
        counts = one.confusion.get(truth, {})
        total = sum(counts.values()) or 1
        cells = "".join(
            '<td class="n" style="background:color-mix(in srgb,var(--bar) '
            f'{60 * counts.get(name, 0) / total:.0f}%,transparent)">{counts.get(name, 0)}</td>'
            for name in columns
        )
        rows.append(f"<tr><th>{truth}</th>{cells}</tr>")
    kinds = "".join(
        f'<tr><td>{escape(kind.replace("_", " "))}</td><td class="n">{share_text(share)}</td></tr>'
        for kind, share in one.kinds.items()
    )
    return (
        f"<div><table><tr><th>truth \\ answer</th>{heads}</tr>{''.join(rows)}</table>"
        f'<table><tr><th>pattern</th><th class="n">named</th></tr>{kinds}</table></div>'
    )
