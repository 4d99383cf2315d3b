"""Version 1: runs, strategies, their spellings and lineage, evaluations."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision: str | None = None

_UP = """
CREATE TABLE run (
    id text PRIMARY KEY,
    name text NOT NULL,
    folder text NOT NULL,
    config text NOT NULL,
    data_hashes jsonb NOT NULL,
    synthetic boolean NOT NULL,
    engine text NOT NULL,
    versions jsonb NOT NULL,
    seed bigint NOT NULL,
    trials bigint NOT NULL,
    failed bigint NOT NULL,
    candidates bigint NOT NULL,
    headline text NOT NULL,
    finished_at text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE strategy (
    id text PRIMARY KEY,
    structure text NOT NULL,
    name text NOT NULL,
    family text NOT NULL,
    description text NOT NULL,
    source text NOT NULL,
    licence text NOT NULL,
    origin text NOT NULL,
    authors text[] NOT NULL,
    citation text NOT NULL,
    tags text[] NOT NULL,
    added_at timestamptz NOT NULL DEFAULT now(),
    words tsvector GENERATED ALWAYS AS (
        to_tsvector('simple'::regconfig, name || ' ' || family || ' ' || description || ' ' ||
                    origin || ' ' || citation)
    ) STORED,
    CONSTRAINT strategy_has_licence_and_origin CHECK (licence <> '' AND origin <> '')
);
CREATE INDEX ix_strategy_structure ON strategy (structure);
CREATE INDEX ix_strategy_name ON strategy (name);
CREATE INDEX ix_strategy_family ON strategy (family);
CREATE INDEX ix_strategy_words ON strategy USING gin (words);
CREATE INDEX ix_strategy_tags ON strategy USING gin (tags);
CREATE TABLE spelling (
    spec_hash text PRIMARY KEY,
    strategy_id text NOT NULL REFERENCES strategy (id),
    name text NOT NULL,
    spec text NOT NULL,
    added_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ix_spelling_strategy_id ON spelling (strategy_id);
CREATE TABLE lineage (
    child text NOT NULL REFERENCES strategy (id),
    parent text NOT NULL REFERENCES strategy (id),
    how text NOT NULL,
    PRIMARY KEY (child, parent),
    CONSTRAINT lineage_of_two CHECK (child <> parent)
);
CREATE INDEX ix_lineage_parent ON lineage (parent);
CREATE TABLE evaluation (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    strategy_id text NOT NULL REFERENCES strategy (id),
    spec_hash text NOT NULL REFERENCES spelling (spec_hash),
    run_id text NOT NULL REFERENCES run (id),
    rank integer NOT NULL,
    entry text NOT NULL,
    instrument text NOT NULL,
    timeframe text NOT NULL,
    data_hash text NOT NULL,
    config_hash text NOT NULL,
    engine text NOT NULL,
    verdict text NOT NULL,
    survives boolean NOT NULL,
    score double precision NOT NULL,
    net_pnl double precision NOT NULL,
    trades bigint NOT NULL,
    sharpe double precision,
    sharpe_low double precision,
    sharpe_high double precision,
    deflated_sharpe double precision,
    p_value double precision,
    trials_counted bigint NOT NULL,
    details jsonb NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT evaluation_once UNIQUE (run_id, rank)
);
CREATE INDEX ix_evaluation_strategy_id ON evaluation (strategy_id);
"""


def upgrade() -> None:
    """Make the tables."""
    op.execute(_UP)


def downgrade() -> None:
    """Drop them with all they hold."""
    op.execute("DROP TABLE evaluation, lineage, spelling, strategy, run")
