"""Pine Script in a notebook: emit a strategy, check a script.

Owns the calls and what they return.  The text and its rules are `aiopt.pine`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

import polars as pl

from aiopt.errors import ConfigError
from aiopt.face import html
from aiopt.face.strategies import SpecLike, load_spec
from aiopt.face.tables import Table
from aiopt.pine.checking.check import check_generated, check_script
from aiopt.pine.checking.diagnostics import Diagnostic
from aiopt.pine.form import ScriptForm
from aiopt.pine.parsing.script_file import read_script_file
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

    As a table: ``line`` and ``column`` (1-based), ``severity``, ``rule``, ``message``, ``fix``.

    Attributes
    ----------
    findings : tuple of Diagnostic
        Every broken rule, in the order of the text; empty if all are kept.
    """

    def __init__(self, findings: Sequence[Diagnostic]) -> None:
        self.findings = tuple(findings)

    @property
    def ok(self) -> bool:
        """True if there is no error; warnings and notes may be there.  Trades are not compared."""
        return not any(finding.severity == "error" for finding in self.findings)

    def __iter__(self) -> Iterator[Diagnostic]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def to_polars(self) -> pl.DataFrame:
        """Return the findings as a Polars frame."""
        schema = {
            **{"line": pl.Int64, "column": pl.Int64},
            **dict.fromkeys(("severity", "rule", "message", "fix"), pl.String),
        }
        columns = {name: [getattr(one, name) for one in self.findings] for name in schema}
        return pl.DataFrame(columns, schema=schema)

    def _title(self) -> str:
        if not self.findings:
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
    form: ScriptForm | None = None,
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
    form : ScriptForm, optional
        Strategy or indicator, alerts, plots, declared costs, ranges of the inputs.
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
            form=form,
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
        form=form,
    )
    return PineScript(strategy, path.read_text(encoding="utf-8"), item.symbol, path)


def check_pine(script: PineScript | Path | str) -> PineCheck:
    """Check the structure of a script without running it.

    A `PineScript`, which aiopt wrote, is held to stricter rules than a file or a text of anyone.

    Parameters
    ----------
    script : PineScript, Path or str
        An object, a file, or the text itself (several lines).

    Raises
    ------
    ConfigError
        If there is no such file, or it is no text of a script.

    Examples
    --------
    >>> import aiopt as ao
    >>> ao.check_pine(ao.emit_pine("rsi_reversion"))
    <PineCheck: no rule broken; trades are not compared>
    """
    if isinstance(script, PineScript):
        return PineCheck(check_generated(script.text))
    if isinstance(script, str) and "\n" in script:
        return PineCheck(check_script(script).diagnostics)
    path = Path(script)
    if not path.exists():
        raise ConfigError(f"There is no file {str(path)!r}. Check the path, or give the text of a script.")
    return PineCheck(check_script(read_script_file(path)).diagnostics)
