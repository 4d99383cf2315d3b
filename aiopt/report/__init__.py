"""The report of a run: one self-contained HTML page, the same as JSON, and CSV tables.

Owns how results are shown.  Reads only the run folder (`aiopt.runs`); computes no result that decides
anything: what ranks, survives or is rejected was settled before.  Knows nothing of Ray, engines or Pine.
"""

from __future__ import annotations

from aiopt.report.writer import write_report

__all__ = ["write_report"]
