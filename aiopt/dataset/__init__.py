"""Training sets from bars: features without look-ahead, forward labels, purged splits, charts, conversations.

Owns the columns and the files of a dataset.  Knows bars, indicators, charts and how the analyst asks; knows
nothing of strategies, backtests, engines or Ray.
"""

from aiopt.dataset.build import ChartRenderer, build_dataset, plan_rows
from aiopt.dataset.checking import check_answers
from aiopt.dataset.dataset_config import (
    BarrierConfig,
    CostConfig,
    DatasetConfig,
    FeatureConfig,
    ImageConfig,
    LabelConfig,
    SplitConfig,
)
from aiopt.dataset.info import DatasetInfo, read_info, split_files, verify_files

__all__ = [
    "DatasetConfig",
    "FeatureConfig",
    "LabelConfig",
    "CostConfig",
    "BarrierConfig",
    "SplitConfig",
    "ImageConfig",
    "build_dataset",
    "plan_rows",
    "ChartRenderer",
    "DatasetInfo",
    "read_info",
    "split_files",
    "verify_files",
    "check_answers",
]
