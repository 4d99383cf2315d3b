"""The entries of a run together: how alike they are, what they earn as one portfolio, how they are sized.

Evidence beside the verdict, made from trial rows; nothing is chosen by it, and the holdout is not read.
`docs/explanation/portfolio.md` explains the figures.
"""

from aiopt.portfolio.portfolio_file import RunPortfolio

__all__ = ["RunPortfolio"]
