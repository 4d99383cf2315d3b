"""Version 2: chart patterns with feature vectors, and what strategies and patterns did over time.

The history of the evaluations that are there is made from their folds.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision: str | None = "0001"

_UP = """
CREATE EXTENSION IF NOT EXISTS vector;
CREATE TABLE pattern (
    id text PRIMARY KEY,
    kind text NOT NULL,
    instrument text NOT NULL,
    timeframe text NOT NULL,
    start_ns bigint NOT NULL,
    stop_ns bigint NOT NULL,
    features vector(64) NOT NULL,
    chart_hash text NOT NULL,
    after jsonb NOT NULL,
    data_hash text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pattern_has_length CHECK (start_ns < stop_ns)
);
CREATE INDEX ix_pattern_kind ON pattern (kind);
CREATE TABLE performance (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    strategy_id text REFERENCES strategy (id),
    pattern_id text REFERENCES pattern (id),
    evaluation_id bigint REFERENCES evaluation (id) ON DELETE CASCADE,
    kind text NOT NULL,
    start_ns bigint NOT NULL,
    stop_ns bigint NOT NULL,
    net_pnl double precision NOT NULL,
    trades bigint NOT NULL,
    sharpe double precision,
    trial_id text NOT NULL,
    CONSTRAINT performance_of_one CHECK (num_nonnulls(strategy_id, pattern_id) = 1),
    CONSTRAINT performance_kind CHECK (kind IN ('in_sample', 'out_of_sample', 'holdout', 'paper', 'live')),
    CONSTRAINT performance_has_length CHECK (start_ns < stop_ns),
    CONSTRAINT performance_once
        UNIQUE NULLS NOT DISTINCT (strategy_id, pattern_id, evaluation_id, kind, start_ns)
);
CREATE INDEX ix_performance_strategy_id ON performance (strategy_id);
CREATE INDEX ix_performance_pattern_id ON performance (pattern_id);
CREATE INDEX ix_performance_evaluation_id ON performance (evaluation_id);
INSERT INTO performance
    (strategy_id, evaluation_id, kind, start_ns, stop_ns, net_pnl, trades, sharpe, trial_id)
SELECT e.strategy_id, e.id, 'out_of_sample', (f ->> 'test_start_ns')::bigint,
       (f ->> 'test_stop_ns')::bigint, (f ->> 'net_pnl')::double precision, (f ->> 'trades')::bigint,
       (f ->> 'out_of_sample_sharpe')::double precision, f ->> 'trial_id'
FROM evaluation AS e, jsonb_array_elements(e.details -> 'folds') AS f;
"""


def upgrade() -> None:
    """Make the tables, and the history of what is there."""
    op.execute(_UP)


def downgrade() -> None:
    """Drop patterns and history; the evaluations they came from stay."""
    op.execute("DROP TABLE performance, pattern")
