"""Feature and prediction log: append-only streams of rows that many processes write while they work.

Owns streams, their schemas and their files.  Knows nothing of what is logged: a backtest, an analyst or a
service is handed a `FeatureLog` and calls `append` or `extend`.
"""

from aiopt.featurelog.compaction import Compaction, compact_stream
from aiopt.featurelog.reader import StreamInfo, list_streams, read_stream
from aiopt.featurelog.schema import RowSchema
from aiopt.featurelog.writer import FeatureLog, LogConfig

__all__ = [
    "FeatureLog",
    "LogConfig",
    "RowSchema",
    "StreamInfo",
    "list_streams",
    "read_stream",
    "Compaction",
    "compact_stream",
]
