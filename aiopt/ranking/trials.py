"""A trial as one row, and ``trials.parquet``.

Owns the columns of a trial's result, the rules they keep and the file.  Knows nothing of how rows are judged,
and carries no clock, host or process id: the same configuration, data and seed give the same bytes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from aiopt.config import canonical_json
from aiopt.errors import DataError, InputError
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.files import atomic_path
from aiopt.series import Symbol, series_name

if TYPE_CHECKING:
    import pyarrow as pa

_METADATA_KEY = b"aiopt"

ROWS_AT_ONCE = 256
"""Rows per row group of the file, and in memory while it is written."""

_PER_SEGMENT = (
    *("trades", "wins", "gross_profit", "gross_loss", "commission", "units"),
    *("refused", "capped", "ruined"),
)


_SPANS = ("segment", "holdout")

_INSTRUMENT = "instrument"

_SEARCHED = ("search", "generation")
"""Columns of a run whose sampler learns, and of no other."""

SUMMED_UP = ("net_pnl", "sharpe", "series_hash")
"""Columns of a file that keeps some series alone, see `aiopt.ranking.kept_series`, and of no other."""

EVERY_SEARCH = -1
"""`TrialRow.search` of a trial that no search proposed: a strategy without a search space."""


class TrialRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The result of one trial: one strategy with one set of parameters on one timeframe.

    Lists per segment cover the development segments (`segment_…`) or the holdout segments (`holdout_…`) of
    the run's `WalkForwardPlan`; profits per period cover the same spans on the plan's grid.  Money is the
    account's currency.  A failed trial has empty lists.

    Attributes
    ----------
    trial_id : str
        Unique in the run, the same on every machine.
    group : str
        ``FAMILY@TIMEFRAME``, or ``FAMILY@INSTRUMENT@TIMEFRAME`` in a run of several markets; parameters
        compete inside a group.
    family, timeframe : str
        Strategy family and bar length, e.g. ``"5m"``.
    instrument : str or unset
        What was traded, in a run of several markets; unset, and no column of the file, in a run of one.
    search : int or unset
        Which search of the group proposed it, in a run whose sampler learns: 0 for the first fold's, and so
        on, the number of folds for the refit's; only that fold's choice may take it.  `EVERY_SEARCH`: any
        may.  Unset, and no column, where points do not depend on results.
    generation : int or unset
        Of that search, from 0; points of generation 0 were drawn without looking at this run's data.
    params_json, spec_json : str
        Parameters and StrategySpec as JSON.
    spec_hash, config_hash, data_hash : str
        Hashes of the spec, the backtest's assumptions and the data.
    seed : int
        Seed of the run.
    status : str
        ``"ok"`` or ``"failed"``.
    error : str
        Why it failed; empty otherwise.
    n_bars : int
        Bars read.
    initial_balance : float
        The capital returns and drawdowns refer to.
    segment_trades, segment_wins : list of int
        Trades that closed, and those of them with a profit above zero after commission.
    segment_gross_profit, segment_gross_loss : list of float
        Sum of the winning and of the losing trades after commission; both at least 0.
    segment_commission : list of float
        Commission paid, at least 0; already inside the profits.
    segment_units : list of float
        Sum over trades of their size in units of base currency, each round trip counted once.
    segment_nights : list of int
        Nights the trades were held over 17:00 New York, charged or not; empty where they were not counted.
    segment_refused, segment_capped : list of int
        Entries the margin refused, and entries whose size by risk it cut.
    segment_ruined : list of int
        1 where the segment's account was lost, 0 elsewhere.  The loss is in the profits, and in no other
        segment's: each begins with `initial_balance`.
    pnl : list of float
        Change of equity per period, positions marked to market.
    holdout_… :
        The same for the holdout segments, which nothing reads before the ranking is fixed.
    net_pnl, sharpe : float or unset
        Sum and annualised Sharpe ratio of `pnl`, in a file that keeps some series alone: where `pnl` and
        `holdout_pnl` of a trial that succeeded are empty, the journal has them.  NaN where it failed.
    series_hash : str or unset
        In such a file: SHA-256 of the two series; empty where the trial failed.
    """

    trial_id: str
    group: str
    family: str
    timeframe: str
    params_json: str
    spec_json: str
    spec_hash: str
    config_hash: str
    data_hash: str
    seed: int
    status: Literal["ok", "failed"]
    error: str = ""
    n_bars: int = 0
    initial_balance: float = 100_000.0
    segment_trades: list[int] = []
    segment_wins: list[int] = []
    segment_gross_profit: list[float] = []
    segment_gross_loss: list[float] = []
    segment_commission: list[float] = []
    segment_units: list[float] = []
    segment_nights: list[int] = []
    segment_refused: list[int] = []
    segment_capped: list[int] = []
    segment_ruined: list[int] = []
    pnl: list[float] = []
    holdout_trades: list[int] = []
    holdout_wins: list[int] = []
    holdout_gross_profit: list[float] = []
    holdout_gross_loss: list[float] = []
    holdout_commission: list[float] = []
    holdout_units: list[float] = []
    holdout_nights: list[int] = []
    holdout_refused: list[int] = []
    holdout_capped: list[int] = []
    holdout_ruined: list[int] = []
    holdout_pnl: list[float] = []
    instrument: Symbol = msgspec.UNSET
    search: int | msgspec.UnsetType = msgspec.UNSET
    generation: int | msgspec.UnsetType = msgspec.UNSET
    net_pnl: float | msgspec.UnsetType = msgspec.UNSET
    sharpe: float | msgspec.UnsetType = msgspec.UNSET
    series_hash: str | msgspec.UnsetType = msgspec.UNSET

    @property
    def summed_up(self) -> bool:
        """Whether it is a row of a file that keeps some series alone."""
        return self.series_hash is not msgspec.UNSET

    @property
    def searched(self) -> bool:
        """Whether it is a trial of a run whose sampler learns."""
        return self.search is not msgspec.UNSET

    @property
    def ok(self) -> bool:
        """Whether the trial has a result."""
        return self.status == "ok"


def check_row(row: TrialRow, plan: WalkForwardPlan) -> None:
    """Refuse a row that breaks a rule of its columns or does not fit the plan.

    Raises
    ------
    InputError
        Names the trial, the rule and the value.
    """
    _hold(row, "trial_id is not empty", bool(row.trial_id), row.trial_id)
    expected = f"{row.family}@{series_name(row.instrument, row.timeframe)}"
    rule = f"group is family@{series_name('instrument' if row.instrument else msgspec.UNSET, 'timeframe')}"
    _hold(row, rule, row.group == expected, row.group)
    if row.search is not msgspec.UNSET:
        folds = plan.config.folds
        _hold(row, f"{EVERY_SEARCH} <= search <= {folds}", EVERY_SEARCH <= row.search <= folds, row.search)
    known = isinstance(row.generation, int) and row.generation >= 0
    _hold(row, "generation >= 0 where there is a search", known == row.searched, row.generation)
    if not row.ok:
        _hold(row, "a failed trial has a reason", bool(row.error), row.error)
        filled = [n for n in row.__struct_fields__ if isinstance(getattr(row, n), list) and getattr(row, n)]
        _hold(row, "a failed trial has no results", not filled, ", ".join(filled))
        return
    _hold(row, "an ok trial has no error", not row.error, row.error)
    _hold(row, "0 < initial_balance < inf", 0 < row.initial_balance < math.inf, row.initial_balance)
    counts = {"segment": len(plan.development), "holdout": len(plan.holdout)}
    lengths = {f"{span}_{name}": n for span, n in counts.items() for name in _PER_SEGMENT}
    # Nights may be uncounted: in a row of format 1.
    lengths |= {f"{span}_nights": n for span, n in counts.items() if getattr(row, f"{span}_nights")}
    lengths |= {"pnl": plan.development_periods, "holdout_pnl": plan.holdout_periods}
    for name, length in lengths.items():
        values = getattr(row, name)
        if _is_sound(values, length, profits=name.endswith("pnl")):
            continue
        _hold(row, f"len({name}) == {length}", len(values) == length, len(values))
        profits = name.endswith("pnl")
        # Thousands of profits, a few of the others.
        finite = bool(np.isfinite(values).all()) if profits else all(map(math.isfinite, values))
        _hold(row, f"{name} is finite", finite, values)
        if not profits:
            _hold(row, f"{name} >= 0", all(value >= 0 for value in values), values)


def _is_sound(values: Sequence[float], length: int, *, profits: bool) -> bool:
    """Return whether a list surely keeps its rules: nearly all do, and each is held against three."""
    if len(values) != length:
        return False
    if profits:
        return bool(np.isfinite(values).all())
    # A sum is finite only where all its terms are.
    return not values or (min(values) >= 0 and math.isfinite(sum(values)))


def _hold(row: TrialRow, rule: str, held: bool, value: object) -> None:
    if not held:
        msg = f"Trial {row.trial_id!r}: `{rule}` must hold, but got {value!r}. Run the trial again."
        raise InputError(msg)


@cache
def trials_schema(
    *, several_markets: bool = False, searched: bool = False, summed_up: bool = False
) -> pa.Schema:
    """Return the Arrow schema of ``trials.parquet``.

    A run of one market has no column of instruments, and one whose sampler does not learn none of searches.
    A file that keeps every series has no column that stands for them.
    """
    import pyarrow as pa

    kinds = {
        "int": pa.int64(),
        "int | msgspec.UnsetType": pa.int64(),
        "float | msgspec.UnsetType": pa.float64(),
        "float": pa.float64(),
        "list[int]": pa.list_(pa.int64()),
        "list[float]": pa.list_(pa.float64()),
    }
    annotations = TrialRow.__annotations__
    fields = [
        pa.field(name, kinds.get(annotations[name], pa.string()), nullable=False)
        for name in TrialRow.__struct_fields__
        if (name != _INSTRUMENT or several_markets)
        and (name not in _SEARCHED or searched)
        and (name not in SUMMED_UP or summed_up)
    ]
    return pa.schema(fields)


def write_trials(path: Path, rows: Iterable[TrialRow], *, plan: WalkForwardPlan | None = None) -> None:
    """Write rows as Parquet, sorted by trial id, atomically.

    Parameters
    ----------
    path : Path
        File to write or replace.
    rows : iterable of TrialRow
        In any order; the file does not depend on it.
    plan : WalkForwardPlan, optional
        Kept in the file's metadata, so that the lists can be read without the run folder.

    Raises
    ------
    InputError
        If two rows have the same trial id, or only some name an instrument or a search.
    StorageError
        If the disk is full or the folder not writable.
    """
    write_sorted_trials(path, sorted(rows, key=lambda row: row.trial_id), plan=plan)


def write_sorted_trials(path: Path, rows: Iterable[TrialRow], *, plan: WalkForwardPlan | None = None) -> None:
    """Write rows that come sorted by trial id, holding `ROWS_AT_ONCE` of them; otherwise as `write_trials`.

    The bytes are those `write_trials` writes.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = iter(rows)
    first = next(source, None)
    several = first is not None and bool(first.instrument)
    source = itertools.chain(() if first is None else (first,), source)
    searched = first is not None and first.searched
    summed_up = first is not None and first.summed_up
    schema = trials_schema(several_markets=several, searched=searched, summed_up=summed_up)
    if plan is not None:
        schema = schema.with_metadata({_METADATA_KEY: canonical_json({"plan": plan})})
    last = ""
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        while batch := list(itertools.islice(source, ROWS_AT_ONCE)):
            for row in batch:
                if row.trial_id <= last:
                    raise InputError(f"Two trials have the id {row.trial_id!r}. Give each its own.")
                if bool(row.instrument) != several or row.searched != searched:
                    what = "instrument" if bool(row.instrument) != several else "search"
                    msg = f"All trials of a run or none name their {what}, but {row.trial_id!r} differs "
                    raise InputError(msg + "from those before it. Run them as one run.")
                last = row.trial_id
            columns = [
                _column(
                    [getattr(row, field.name) for row in batch],
                    field.type,
                    series=field.name in ("pnl", "holdout_pnl"),
                )
                for field in schema
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def _column(values: list[Any], kind: pa.DataType, *, series: bool) -> pa.Array:
    """Return a column; `series`: of profits per period, which may be arrays."""
    import pyarrow as pa

    if not pa.types.is_list(kind):
        return pa.array(values, type=kind)
    # Through NumPy: Arrow takes lists of Python numbers apart one by one.
    edges = np.cumsum([0, *map(len, values)], dtype=np.int32)
    whole = np.dtype(np.float64 if pa.types.is_floating(kind.value_type) else np.int64)
    if series:
        flat = np.concatenate([np.asarray(one, dtype=whole) for one in values])
    else:
        flat = np.fromiter(itertools.chain.from_iterable(values), dtype=whole, count=int(edges[-1]))
    return pa.ListArray.from_arrays(edges, pa.array(flat), type=kind)


_SINCE_FORMAT_2 = {f"{span}_{name}" for span in _SPANS for name in ("refused", "capped", "ruined")}

_UNCOUNTED_IN_FORMAT_1 = {f"{span}_nights" for span in _SPANS}


def _from_format_1(table: pa.Table) -> pa.Table:
    """Add the columns of format 2.

    In format 1 a trial with an event of the margin had failed, so their counts are 0.  Nights were not
    counted.
    """
    import pyarrow as pa

    names = list(TrialRow.__struct_fields__)
    if "segment_trades" not in table.schema.names or "holdout_trades" not in table.schema.names:
        return table
    for name in names:
        if name in _UNCOUNTED_IN_FORMAT_1 and name not in table.schema.names:
            empty: list[list[int]] = [[] for _ in range(table.num_rows)]
            table = table.append_column(name, pa.array(empty, pa.list_(pa.int64())))
        if name in _SINCE_FORMAT_2:
            counts = table[f"{name.split('_')[0]}_trades"].to_pylist()
            table = table.append_column(
                name, pa.array([[0] * len(row) for row in counts], pa.list_(pa.int64()))
            )
    return table.select(
        [name for name in names if name in table.schema.names]
        + [name for name in table.schema.names if name not in names]
    )


def read_trials(path: Path) -> list[TrialRow]:
    """Read ``trials.parquet``, sorted by trial id; a file of format 1 by the rule of `_from_format_1`.

    Raises
    ------
    DataError
        If the file is missing, not Parquet, or has other columns.
    """
    import pyarrow.parquet as pq

    return _rows_of(_read(path, pq.read_table), path)


def read_some_trials(path: Path, trial_ids: Sequence[str]) -> list[TrialRow]:
    """Read some rows of ``trials.parquet``, sorted by trial id, without holding the others; as `read_trials`.

    Raises
    ------
    DataError
        Also if one of them is not there.
    """
    import pyarrow.parquet as pq

    wanted = sorted(set(trial_ids))
    found = _rows_of(
        _read(path, lambda file: pq.read_table(file, filters=[("trial_id", "in", wanted)])), path
    )
    missing = set(wanted) - {row.trial_id for row in found}
    if missing:
        raise DataError(f"there is no trial {min(missing)!r}. Repeat the run.", file=path)
    return found


def _rows_of(table: pa.Table, path: Path) -> list[TrialRow]:
    return _converted(_checked(table, path), path)


def _checked(table: pa.Table, path: Path) -> pa.Table:
    """Return the table with the columns of this format."""
    if not _SINCE_FORMAT_2 & set(table.schema.names):
        table = _from_format_1(table)
    known = [*TrialRow.__struct_fields__]
    for name in (_INSTRUMENT, *_SEARCHED, *SUMMED_UP):
        if name not in table.schema.names:
            known.remove(name)
    if table.schema.names != known:
        missing = [name for name in known if name not in table.schema.names]
        other = [name for name in table.schema.names if name not in TrialRow.__struct_fields__]
        msg = f"these are not the columns of trials: {missing} are missing, {other} are unknown."
        raise DataError(msg, file=path)
    return table


def _converted(table: pa.Table, path: Path) -> list[TrialRow]:
    try:
        return [msgspec.convert(row, TrialRow) for row in table.to_pylist()]
    except msgspec.ValidationError as error:
        msg = f"the rows are not trials: {error}. Repeat the run."
        raise DataError(msg, file=path) from error


def iter_trials(path: Path) -> Iterator[TrialRow]:
    """Yield the rows of a ``trials.parquet`` by trial id, profits as arrays; otherwise as `read_trials`.

    A few hundred are in memory at a time: a hundred thousand trials of a year are gigabytes.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    _read(path, pq.read_schema)
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
            table = _checked(pa.Table.from_batches([batch]), path)
            profits = {name: table[name].combine_chunks() for name in ("pnl", "holdout_pnl")}
            for place, row in enumerate(_converted(table.drop_columns(list(profits)), path)):
                arrays = {name: column[place].values.to_numpy() for name, column in profits.items()}
                yield msgspec.structs.replace(row, **arrays)


def read_columns(path: Path) -> list[str]:
    """Return the names of the columns of a ``trials.parquet``; errors as `read_plan`."""
    import pyarrow.parquet as pq

    return list(_read(path, pq.read_schema).names)


def read_trial_ids(path: Path) -> list[str]:
    """Return the ids of a ``trials.parquet``, sorted; errors as `read_plan`."""
    import pyarrow.parquet as pq

    found: list[str] = _read(path, lambda file: pq.read_table(file, columns=["trial_id"]))[0].to_pylist()
    return found


def count_trials(path: Path) -> int:
    """Return the number of rows of a ``trials.parquet``; errors as `read_plan`."""
    import pyarrow.parquet as pq

    return int(_read(path, pq.read_metadata).num_rows)


def read_plan(path: Path) -> WalkForwardPlan | None:
    """Return the plan kept in a ``trials.parquet``, or None if it was written without.

    Raises
    ------
    DataError
        If the file is missing or not Parquet.
    """
    import pyarrow.parquet as pq

    metadata = _read(path, pq.read_schema).metadata or {}
    text = metadata.get(_METADATA_KEY)
    return None if text is None else msgspec.convert(msgspec.json.decode(text)["plan"], WalkForwardPlan)


def _read(path: Path, reader: object) -> pa.Table | pa.Schema:
    import pyarrow as pa

    if not Path(path).is_file():
        raise DataError("there is no such file. Check the path.", file=path)
    try:
        return reader(path)  # type: ignore[operator]
    except (pa.ArrowInvalid, OSError) as error:
        msg = f"this is not a Parquet file ({error}). It was cut off, or it is another file."
        raise DataError(msg, file=path) from error
