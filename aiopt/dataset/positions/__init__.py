"""What trades teach: closed positions with the chart and reading at their entry, as a set of tasks.

Owns the record of a closed position, its file, and which positions become records.  Knows no run folder and
no broker: whoever has trades (`aiopt.cli.dataset_trades` for runs) hands them over as `ClosedPosition`.
"""

from aiopt.dataset.positions.closed_positions import (
    ClosedPosition,
    add_positions,
    load_positions,
    positions_of_trades,
)
from aiopt.dataset.positions.position_build import PositionSettings, build_from_positions

__all__ = [
    "ClosedPosition",
    "add_positions",
    "load_positions",
    "positions_of_trades",
    "PositionSettings",
    "build_from_positions",
]
