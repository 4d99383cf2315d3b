"""The trading library: strategies and chart patterns in PostgreSQL, with what became of them."""

from aiopt.library.failures import LibraryDownError, LibraryError
from aiopt.library.library import Library, init_library, open_library, restore_library
from aiopt.library.records import Added, Filter, Origin, Page, Strategy, StrategyRow

__all__ = [
    "Added",
    "Filter",
    "Library",
    "LibraryDownError",
    "LibraryError",
    "Origin",
    "Page",
    "Strategy",
    "StrategyRow",
    "init_library",
    "open_library",
    "restore_library",
]
