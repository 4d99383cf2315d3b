"""Two checkpoints on the same charts, and the rule by which one takes the other's place.

Owns the comparison, its rule, page and proposal.  Measures are `aiopt.dataset.judging`'s; a swap is the
coordinator's.
"""

from aiopt.promotion.candidates import Candidate, open_candidate
from aiopt.promotion.comparison import Comparison, compare
from aiopt.promotion.rule import Decision, PromotionConfig, decide, load_promotion_config

__all__ = [
    "Candidate",
    "open_candidate",
    "Comparison",
    "compare",
    "PromotionConfig",
    "load_promotion_config",
    "Decision",
    "decide",
]
