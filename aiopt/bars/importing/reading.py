"""What files of bars do not say about themselves, as one configuration.

Owns those options and which of them go together.  Knows no layout.
"""

from __future__ import annotations

import msgspec

from aiopt.bars.importing.tables import BarTableOptions
from aiopt.bars.schema import PRICES
from aiopt.errors import ConfigError, did_you_mean


class BarReading(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What files of bars do not say about themselves.

    Attributes
    ----------
    price : str or None
        Side of one-sided bars: ``"bid"``, ``"ask"`` or ``"mid"``; None: as the files say.
    format : str or None
        Layout, see `aiopt.bars.importing.layouts.BAR_FORMATS`; recognised if None.
    timezone : str or None
        Clock of the stamps; the layout's own if None.
    keep_clock : bool
        Take the clock although weeks contradict it.
    columns, time_unit, time_format, header
        Of tables of bars (CSV, JSON, Parquet), see `aiopt.bars.importing.tables.BarTableOptions`.
    drop_bad : bool
        Leave impossible bars out and count them instead of refusing the source.
    """

    price: str | None = None
    format: str | None = None
    timezone: str | None = None
    keep_clock: bool = False
    columns: dict[str, str] = {}
    time_unit: str | None = None
    time_format: str | None = None
    header: bool = True
    drop_bad: bool = False

    def __post_init__(self) -> None:
        if self.price is not None and self.price not in PRICES:
            msg = f"`price` of bars must be one of {', '.join(PRICES)}, but got {self.price!r}."
            raise ConfigError(msg + did_you_mean(self.price, PRICES))
        self.table()

    def table(self) -> BarTableOptions:
        """Return what is said of tables.

        Raises
        ------
        DataError
            If an option breaks a rule.
        """
        return BarTableOptions(
            columns=self.columns,
            time_unit=self.time_unit,
            time_format=self.time_format,
            header=self.header,
            price=self.price,
        )
