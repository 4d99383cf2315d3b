"""Which file of a run folder lies where.  Owns names only.

::

    runs/<run-id>/
    ├── config.json        the resolved configuration
    ├── manifest.json      the tick store's manifest, or that of the bars: source, span, what was dropped
    ├── state.json         RunState: how far the run came
    ├── bars/              the bars the trials read
    ├── readings.parquet   a model's readings of them, where strategies ask for some
    ├── trials.parquet     every trial, failed ones too
    ├── leaderboard.jsonl  the leaderboard's journal
    ├── ranking.json       the ranking: entries, rejections, statistics; search.json: searches, in-sample
    ├── screen.json        what the screen ran, what the engine confirmed, what was beyond the screen
    ├── distrusted/        rows that the engine contradicted, which nothing reads; usually absent
    ├── paths.json         combinatorial paths and walk-forward matrix
    ├── verification.json  the scripts of the entries in the Pine engine, where it is installed
    ├── nested_paths.json  the paths where the sampler searched anew for each, if asked for
    ├── robustness.json    the ranked entries under stress, where the stage is on
    ├── entries/           one EntryRecord per ranked entry: trades and equity of its emitted parameters
    ├── charts/, analyses.json   what the analyst was shown and read, where the stage is on
    ├── proposals.json     strategies the analyst proposed before the sweep, where it was asked to
    ├── pine/              NAME.pine and NAME.json (the spec) per ranked entry
    └── report.html, report.json, trades.csv, entries.csv
"""

from __future__ import annotations

CONFIG = "config.json"
MANIFEST = "manifest.json"
STATE = "state.json"
BARS = "bars"
READINGS = "readings.parquet"
TRIALS = "trials.parquet"
LEADERBOARD = "leaderboard.jsonl"
RANKING = "ranking.json"
ROBUSTNESS = "robustness.json"
VERIFICATION = "verification.json"
ENTRIES = "entries"
PINE = "pine"
CHARTS = "charts"
ANALYSES = "analyses.json"
PROPOSALS = "proposals.json"
PATHS = "paths.json"
NESTED_PATHS = "nested_paths.json"
SEARCH = "search.json"
SCREEN = "screen.json"
DISTRUSTED = "distrusted"
REPORT_HTML = "report.html"
REPORT_JSON = "report.json"
TRADES_CSV = "trades.csv"
ENTRIES_CSV = "entries.csv"
LOCK = ".lock"
"""Held, by the kernel's lock, by the process that works on the run."""

PARTS = {
    CONFIG: "the resolved configuration",
    MANIFEST: "the data manifest",
    STATE: "the progress of the run",
    TRIALS: "the trials",
    RANKING: "the ranking",
    ENTRIES: "trades and equity of the ranked entries",
    PINE: "the emitted scripts",
}
"""What a finished run holds, and how a person would call it."""
