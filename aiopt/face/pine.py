"""Pine Script in a notebook: emit a strategy, check a script.

Owns the calls and what they return.  The text and its rules are `aiopt.pine`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path

import polars as pl

from aiopt.errors import ConfigError
from aiopt.face import html
from aiopt.face.strategies import SpecLike, load_spec
from aiopt.face.tables import Table
from aiopt.pine.checker import check_script
from aiopt.pine.findings import Finding
from aiopt.strategy.spec import StrategySpec


class PineScript:
    """A strategy as Pine Script; ``str(script)`` is the text to paste into TradingView.

    Its structure was checked.  That its trades are the backtest's is for a comparison to say: run
    ``aiopt.backtest(spec, bars, mode="parity")`` and compare with TradingView's list of trades.

    Attributes
    ----------
    spec : StrategySpec
        What it was made from.
    text : str
        The script.
    instrument : str
        Whose pips its distances are in.
    path : Path or None
        Where it was written.
    """

    def __init__(self, spec: StrategySpec, text: str, instrument: str, path: Path | None = None) -> None:
        self.spec = spec
        self.text = text
        self.instrument = instrument
        self.path = path

    @property
    def name(self) -> str:
        """Name of the strategy."""
        return self.spec.name

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        written = "" if self.path is None else f", {self.path}"
        return f"<PineScript: {self.name}, {len(self.text.splitlines())} lines{written}>"

    def _repr_html_(self) -> str:
        code = f'<pre style="margin:4px 0;max-height:360px;overflow:auto">{escape(self.text)}</pre>'
        return html.card(repr(self).strip("<>"), code)


class PineCheck(Table):
    """What a check found.

    As a table: ``line`` (1-based), ``rule``, ``message``.

    Attributes
    ----------
    findings : tuple of Finding
        Every broken rule, in the order of lines; empty if all are kept.
    """

    def __init__(self, findings: list[Finding]) -> None:
        self.findings = tuple(findings)

    @property
    def ok(self) -> bool:
        """True if no rule is broken.  Trades are not compared."""
        return not self.findings

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def to_polars(self) -> pl.DataFrame:
        """Return the findings as a Polars frame."""
        columns = {
            name: [getattr(one, name) for one in self.findings] for name in ("line", "rule", "message")
        }
        return pl.DataFrame(columns, schema={"line": pl.Int64, "rule": pl.String, "message": pl.String})

    def _title(self) -> str:
        if self.ok:
            return "no rule broken; trades are not compared"
        return f"{len(self)} rule(s) broken, first {self.findings[0]}"


def emit_pine(
    spec: SpecLike,
    *,
    params: dict[str, float] | None = None,
    instrument: str = "EURUSD",
    version: int = 6,
    initial_balance: float = 100_000.0,
    leverage: float = 30.0,
    out: Path | str | None = None,
) -> PineScript:
    """Write a strategy as Pine Script.

    Parameters
    ----------
    spec : str, Path, StrategySpec or SearchSpace
        Name of a ready family, a YAML or JSON file, or an object.
    params : dict of str to float, optional
        Parameters to set.
    instrument : str
        Whose pips the distances are in.
    version : int
        Of Pine: 6 or 5.
    initial_balance : float
        Account at the start, quote currency; sizes by risk are measured by it.
    leverage : float
        Largest value of a position per equity; sizes by risk are cut to it.
    out : Path or str, optional
        Folder for ``NAME.pine`` and beside it ``NAME.json``, the strategy.

    Returns
    -------
    PineScript
        The same arguments give the same text, to the byte.

    Raises
    ------
    SpecError, ConfigError
        If the strategy breaks a rule, or an argument is out of range.

    Examples
    --------
    >>> import aiopt as ao
    >>> script = ao.emit_pine("rsi_reversion", params={"rsi_length": 9})
    >>> script.text.splitlines()[0]
    '//@version=6'
    """
    from aiopt.market.instrument import instrument as look_up
    from aiopt.pine.emitter import emit, write_script
    from aiopt.pine.provenance import Provenance

    strategy = load_spec(spec, **(params or {}))
    item = look_up(instrument)
    if out is None:
        text = emit(
            strategy,
            provenance=Provenance(),
            instrument=item,
            version=version,
            initial_balance=initial_balance,
            leverage=leverage,
        )
        return PineScript(strategy, text, item.symbol)
    path = write_script(
        Path(out),
        strategy.name,
        strategy,
        provenance=Provenance(),
        instrument=item,
        version=version,
        initial_balance=initial_balance,
        leverage=leverage,
    )
    return PineScript(strategy, path.read_text(encoding="utf-8"), item.symbol, path)


def check_pine(script: PineScript | Path | str) -> PineCheck:
    """Check the structure of a script without running it.

    The rules are those of scripts written by aiopt: functions it does not use are findings, too.

    Parameters
    ----------
    script : PineScript, Path or str
        An object, a file, or the text itself (several lines).

    Raises
    ------
    ConfigError
        If there is no such file, or it is not UTF-8 text.

    Examples
    --------
    >>> import aiopt as ao
    >>> ao.check_pine(ao.emit_pine("rsi_reversion"))
    <PineCheck: no rule broken; trades are not compared>
    """
    if isinstance(script, PineScript):
        return PineCheck(check_script(script.text))
    if isinstance(script, str) and "\n" in script:
        return PineCheck(check_script(script))
    path = Path(script)
    if not path.is_file():
        raise ConfigError(f"There is no file {str(path)!r}. Check the path, or give the text of a script.")
    try:
        return PineCheck(check_script(path.read_text(encoding="utf-8")))
    except UnicodeDecodeError as failure:
        msg = f"{path} is not UTF-8 text ({failure.reason}). Check the path."
        raise ConfigError(msg) from failure
