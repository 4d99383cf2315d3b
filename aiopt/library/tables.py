"""The tables of the library as SQLAlchemy sees them.  Owns names and columns; `migrations` makes them.

A test compares the two.  Times of the market are UTC nanoseconds, money is the account's currency.
"""

from __future__ import annotations

from pgvector.sqlalchemy import VECTOR
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TSVECTOR

DIMENSIONS = 64
"""Numbers of a pattern's feature vector."""

metadata = MetaData()

run = Table(
    "run",
    metadata,
    Column("id", Text, primary_key=True),  # hash of config.json
    Column("name", Text, nullable=False),
    Column("folder", Text, nullable=False),
    Column("config", Text, nullable=False),  # canonical JSON: its hash is `id`
    Column("data_hashes", JSONB, nullable=False),
    Column("synthetic", Boolean, nullable=False),
    Column("engine", Text, nullable=False),
    Column("versions", JSONB, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("trials", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("candidates", BigInteger, nullable=False),
    Column("headline", Text, nullable=False),
    Column("finished_at", Text, nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

strategy = Table(
    "strategy",
    metadata,
    Column("id", Text, primary_key=True),  # hash of the normal form
    Column("structure", Text, nullable=False, index=True),
    Column("name", Text, nullable=False, index=True),
    Column("family", Text, nullable=False, index=True),
    Column("description", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("licence", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("authors", ARRAY(Text), nullable=False),
    Column("citation", Text, nullable=False),
    Column("tags", ARRAY(Text), nullable=False),
    Column("added_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column(
        "words",
        TSVECTOR,
        Computed(
            "to_tsvector('simple'::regconfig, name || ' ' || family || ' ' || description || ' ' || "
            "origin || ' ' || citation)",
            persisted=True,
        ),
    ),
    CheckConstraint("licence <> '' AND origin <> ''", name="strategy_has_licence_and_origin"),
    Index("ix_strategy_words", "words", postgresql_using="gin"),
    Index("ix_strategy_tags", "tags", postgresql_using="gin"),
)

spelling = Table(
    "spelling",
    metadata,
    Column("spec_hash", Text, primary_key=True),
    Column("strategy_id", Text, ForeignKey("strategy.id"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("spec", Text, nullable=False),  # canonical JSON: its hash is `spec_hash`
    Column("added_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

lineage = Table(
    "lineage",
    metadata,
    Column("child", Text, ForeignKey("strategy.id"), primary_key=True),
    Column("parent", Text, ForeignKey("strategy.id"), primary_key=True, index=True),
    Column("how", Text, nullable=False),
    CheckConstraint("child <> parent", name="lineage_of_two"),
)

evaluation = Table(
    "evaluation",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("strategy_id", Text, ForeignKey("strategy.id"), nullable=False, index=True),
    Column("spec_hash", Text, ForeignKey("spelling.spec_hash"), nullable=False),
    Column("run_id", Text, ForeignKey("run.id"), nullable=False),
    Column("rank", Integer, nullable=False),
    Column("entry", Text, nullable=False),
    Column("instrument", Text, nullable=False),
    Column("timeframe", Text, nullable=False),
    Column("data_hash", Text, nullable=False),
    Column("config_hash", Text, nullable=False),
    Column("engine", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("survives", Boolean, nullable=False),
    Column("score", Double, nullable=False),
    Column("net_pnl", Double, nullable=False),
    Column("trades", BigInteger, nullable=False),
    Column("sharpe", Double),
    Column("sharpe_low", Double),
    Column("sharpe_high", Double),
    Column("deflated_sharpe", Double),
    Column("p_value", Double),
    Column("trials_counted", BigInteger, nullable=False),
    Column("details", JSONB, nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    UniqueConstraint("run_id", "rank", name="evaluation_once"),
)

pattern = Table(
    "pattern",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False, index=True),
    Column("instrument", Text, nullable=False),
    Column("timeframe", Text, nullable=False),
    Column("start_ns", BigInteger, nullable=False),
    Column("stop_ns", BigInteger, nullable=False),
    Column("features", VECTOR(DIMENSIONS), nullable=False),
    Column("chart_hash", Text, nullable=False),
    Column("after", JSONB, nullable=False),
    Column("data_hash", Text, nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint("start_ns < stop_ns", name="pattern_has_length"),
)

performance = Table(
    "performance",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("strategy_id", Text, ForeignKey("strategy.id"), index=True),
    Column("pattern_id", Text, ForeignKey("pattern.id"), index=True),
    Column("evaluation_id", BigInteger, ForeignKey("evaluation.id", ondelete="CASCADE"), index=True),
    Column("kind", Text, nullable=False),
    Column("start_ns", BigInteger, nullable=False),
    Column("stop_ns", BigInteger, nullable=False),
    Column("net_pnl", Double, nullable=False),
    Column("trades", BigInteger, nullable=False),
    Column("sharpe", Double),
    Column("trial_id", Text, nullable=False),
    CheckConstraint("num_nonnulls(strategy_id, pattern_id) = 1", name="performance_of_one"),
    CheckConstraint(
        "kind IN ('in_sample', 'out_of_sample', 'holdout', 'paper', 'live')", name="performance_kind"
    ),
    CheckConstraint("start_ns < stop_ns", name="performance_has_length"),
    UniqueConstraint(
        "strategy_id",
        "pattern_id",
        "evaluation_id",
        "kind",
        "start_ns",
        name="performance_once",
        postgresql_nulls_not_distinct=True,
    ),
)
