"""More paths than one through a run's trials: combinatorial cross-validation and the walk-forward matrix.

Evidence beside the verdict, made from the trial rows; nothing is chosen by it, and the holdout is not read.
"""

from aiopt.paths.paths_file import RunPaths

__all__ = ["RunPaths"]
