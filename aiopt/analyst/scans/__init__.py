"""Reading at scale: thousands of windows of a series, each read once, kept in one file.

Owns which windows, the record of a reading, the folder that survives a kill, and the join of readings to
bars.  Knows nothing of Ray: `cluster.scanning` reads the same windows on a cluster.
"""

from aiopt.analyst.scans.reading_log import load_reading_log, market_reading, reading_log, with_readings
from aiopt.analyst.scans.reading_rows import WindowReading, load_readings
from aiopt.analyst.scans.readings_at import readings_at
from aiopt.analyst.scans.scan_config import ScanConfig, windows_of
from aiopt.analyst.scans.scan_folder import ScanFolder, ScanSummary
from aiopt.analyst.scans.scanning import LocalScan, run_scan

__all__ = [
    "ScanConfig",
    "windows_of",
    "WindowReading",
    "load_readings",
    "readings_at",
    "reading_log",
    "load_reading_log",
    "market_reading",
    "with_readings",
    "ScanFolder",
    "ScanSummary",
    "LocalScan",
    "run_scan",
]
