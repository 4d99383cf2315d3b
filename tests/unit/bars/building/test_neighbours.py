"""Which bars may lie beside which."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiopt.bars.importing.bar_import import import_bars
from aiopt.bars.importing.reading import BarReading
from aiopt.errors import DataError


def table(path: Path, rise: int) -> Path:
    rows = [f"2014-05-01 10:0{minute}:00,1.1,1.3,1.0,1.{rise}" for minute in range(6)]
    path.write_text("timestamp,open,high,low,close\n" + "\n".join(rows) + "\n")
    return path


def test_a_side_of_other_files_is_not_put_beside_one_that_is_there(tmp_path: Path) -> None:
    first, second = table(tmp_path / "a.csv", 1), table(tmp_path / "b.csv", 2)
    bid, ask = BarReading(price="bid", timezone="UTC"), BarReading(price="ask", timezone="UTC")
    import_bars(first, tmp_path / "bars", bid)
    folder = tmp_path / "bars" / "EURUSD" / "1m"
    before = (folder / "bid.parquet").read_bytes()
    with pytest.raises(DataError, match=r"bid\.parquet: The sides of a series must come from the same files"):
        import_bars(second, tmp_path / "bars", ask)
    assert [path.name for path in folder.glob("*.parquet")] == ["bid.parquet"]
    # The same side again, of newer files, replaces it.
    import_bars(second, tmp_path / "bars", bid)
    assert (folder / "bid.parquet").read_bytes() != before
