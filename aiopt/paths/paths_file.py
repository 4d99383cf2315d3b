"""What the paths of a run say: the content of ``paths.json``.

Owns the records and the sentences on them.  Sharpe ratios are annualised, money is in the account's currency,
None means "not defined on this data".
"""

from __future__ import annotations

import msgspec

FORMAT = 1
"""Of ``paths.json``."""


class LanePaths(msgspec.Struct, frozen=True, kw_only=True):
    """One candidate, the lane of a group, over all combinatorial paths.

    Attributes
    ----------
    lane : int
        1: always the best trial of the train groups, 2: the second best, …
    sharpe : list of float or None
        Out of sample, per path over all development segments.
    net_pnl : list of float
        Per path.
    sharpe_on_test : list of float or None
        Per path over the test segments of the walk-forward alone: what its one path is compared with.
    walk_forward_sharpe : float or None
        Of the walk-forward path of the same lane.
    low, median, high : float or None
        5th, 50th and 95th percentile of `sharpe`.
    share_negative : float
        Share of the paths with a loss.
    walk_forward_percentile : float or None
        Share of `sharpe_on_test` below `walk_forward_sharpe`, half of those equal to it.
    trials_chosen : int
        Different trials that the splits chose.
    most_chosen : str
        The trial that most splits chose.
    most_chosen_share : float
        Share of the splits that chose it.
    """

    lane: int
    sharpe: list[float | None]
    net_pnl: list[float]
    sharpe_on_test: list[float | None]
    walk_forward_sharpe: float | None
    low: float | None
    median: float | None
    high: float | None
    share_negative: float
    walk_forward_percentile: float | None
    trials_chosen: int
    most_chosen: str
    most_chosen_share: float


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One walk-forward of the matrix: the best trial of every train window, on the segments behind it.

    Attributes
    ----------
    train, test : int
        Lengths in segments of the matrix's grid; where it is anchored, `train` is that of the first window.
    anchored : bool
        Whether train windows start with the first segment.
    folds : int
        Steps; the last test may be shorter.
    sharpe, net_pnl, trades
        Of the out-of-sample path.
    deflated_sharpe : float or None
        Probability that the true Sharpe ratio exceeds the best of all trials without skill.
    p_value : float or None
        One-sided, had this been the only path.
    """

    train: int
    test: int
    anchored: bool
    folds: int
    sharpe: float | None
    net_pnl: float
    trades: int
    deflated_sharpe: float | None
    p_value: float | None


class GroupPaths(msgspec.Struct, frozen=True, kw_only=True):
    """The paths of one group of trials.

    Attributes
    ----------
    group : str
        As in the ranking.
    trials : int
        Distinct trials compared.
    lanes : list of LanePaths
        Empty where there is a `reason`.
    matrix : list of Cell
        Walk-forwards of other lengths; a cell without an eligible trial in some window is left out.
    reason : str
        Why there is no path; empty otherwise.
    """

    group: str
    trials: int
    lanes: list[LanePaths]
    matrix: list[Cell]
    reason: str = ""


class Nested(msgspec.Struct, frozen=True, kw_only=True):
    """The searches that were run anew, one per split and group, each on its train segments alone.

    Attributes
    ----------
    sampler : str
        What proposed the points.
    searches, trials : int
        How many there were, and the backtests they made together; all of these are in the ledger.
    """

    sampler: str
    searches: int
    trials: int


class RunPaths(msgspec.Struct, frozen=True, kw_only=True):
    """Combinatorial paths and walk-forward matrix of a run.

    Attributes
    ----------
    groups : list of GroupPaths
        By name.
    combined_groups, tested_groups, splits, paths : int
        Groups of segments of the development span, those tested at once, and what follows from both.
    purge_periods, embargo_periods : int
        Left out of the train groups before and behind a test group.
    segments : int
        Segments of the grid of the matrix.
    trials_counted : int
        What `Cell.deflated_sharpe` counts.
    left_out : str
        Why trials were left out; empty if none was.
    nested : Nested or unset
        What was searched for these paths; unset where the run's own trials made them.
    format : int
        `FORMAT`.
    """

    groups: list[GroupPaths]
    combined_groups: int
    tested_groups: int
    splits: int
    paths: int
    purge_periods: int
    embargo_periods: int
    segments: int
    trials_counted: int
    left_out: str = ""
    nested: Nested | msgspec.UnsetType = msgspec.UNSET
    format: int = FORMAT


def with_nested(own: RunPaths, nested: RunPaths | None) -> RunPaths:
    """Return a run's paths with those of nested searches in the place of its own, where there are any.

    The walk-forward matrix stays: it is of the run's own trials, and `left_out` says of which.
    """
    if nested is None:
        return own
    found = {group.group: group for group in nested.groups}
    groups = [
        msgspec.structs.replace(group, lanes=found[group.group].lanes, reason=found[group.group].reason)
        if group.group in found
        else group
        for group in own.groups
    ]
    return msgspec.structs.replace(own, groups=groups, nested=nested.nested)


def nested_text(found: RunPaths) -> str:
    """Return how paths were nested, in a sentence; empty where they were not.

    Examples
    --------
    >>> nested_text(RunPaths(groups=[], combined_groups=6, tested_groups=2, splits=15, paths=5,
    ...     purge_periods=0, embargo_periods=0, segments=6, trials_counted=1))
    ''
    """
    if not found.nested:
        return ""
    one = found.nested
    return (
        f"The paths are nested: {one.sampler} searched anew {one.searches:,} times, for every split on its "
        f"train segments alone, with {one.trials:,} backtests that the ledger counts."
    )


def lane_reading(lane: LanePaths) -> str:
    """Return what the paths say that the one walk-forward path does not."""
    if lane.median is None or lane.low is None or lane.high is None:
        return "No path has a Sharpe ratio."
    text = (
        f"Over {len(lane.sharpe)} paths the Sharpe ratio is {lane.median:.2f} in the middle, from "
        f"{lane.low:.2f} to {lane.high:.2f}; {lane.share_negative:.0%} of the paths lose."
    )
    return " ".join(filter(None, [text, walk_forward_reading(lane)]))


def walk_forward_reading(lane: LanePaths) -> str:
    """Return where the walk-forward path lies among the others; empty where it cannot be said."""
    share = lane.walk_forward_percentile
    if lane.walk_forward_sharpe is None or share is None:
        return ""
    if share >= 0.9:
        return "The walk-forward path is among the best: expect the middle, not it."
    if share <= 0.1:
        return "The walk-forward path is among the worst: it met a bad stretch."
    return "The walk-forward path lies among the others."


def matrix_reading(cells: list[Cell], confidence: float) -> str:
    """Return how much the result depends on the lengths of train window and test."""
    known = [cell for cell in cells if cell.sharpe is not None]
    if not known:
        return "No other walk-forward has a result."
    ratios = sorted(cell.sharpe for cell in known if cell.sharpe is not None)
    positive = sum(cell.net_pnl > 0 for cell in known)
    sure = sum((cell.deflated_sharpe or 0.0) >= confidence for cell in known)
    text = (
        f"{len(known)} walk-forwards: {positive} with a profit, Sharpe ratios from {ratios[0]:.2f} to "
        f"{ratios[-1]:.2f}, {sure} beyond what the best of all trials shows by luck."
    )
    if positive in (0, len(known)):
        return f"{text} The sign does not depend on the lengths."
    return f"{text} The sign depends on the lengths: the result of a single walk-forward means little."
