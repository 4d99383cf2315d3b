"""The ledger: every trial ever made on a market's data, and every holdout that was opened.

Owns where it lies, its file, and how many distinct trials overlap a span.  Knows no run folder, no engine and
no strategy: a trial is a key of eight bytes here.  `docs/explanation/trials-ledger.md` says what counts.
"""

from aiopt.ledger.chained_file import FORMAT, ChainedFile
from aiopt.ledger.ledger import Ledger, ledger_folder, open_ledger
from aiopt.ledger.records import Author, Look, Opening, Span, Tried, trial_key, trial_keys

__all__ = [
    "FORMAT",
    "Author",
    "ChainedFile",
    "Ledger",
    "Look",
    "Opening",
    "Span",
    "Tried",
    "ledger_folder",
    "open_ledger",
    "trial_key",
    "trial_keys",
]
