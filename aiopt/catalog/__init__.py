"""What lies in a data root: finding it, checking it, packing it tighter and throwing away what nobody needs.

Owns the catalogue over tick stores, bars, downloads, datasets, streams, runs and plain Parquet.  Keeps no
index of its own: manifests and metadata in the folders are the truth, so nothing can disagree with them.
"""

from aiopt.catalog.compaction import Compaction, compact
from aiopt.catalog.discovery import find_entries
from aiopt.catalog.entries import KINDS, Entry, Fault
from aiopt.catalog.pruning import PruneItem, plan_prune, prune
from aiopt.catalog.verification import Verification, verify

__all__ = [
    "KINDS",
    "Compaction",
    "Entry",
    "Fault",
    "PruneItem",
    "Verification",
    "compact",
    "find_entries",
    "plan_prune",
    "prune",
    "verify",
]
