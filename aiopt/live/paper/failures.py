"""What the paper venue raises beside the errors of `aiopt.errors`.  Owns that alone."""

from __future__ import annotations

from aiopt.errors import AioptError


class VenueError(AioptError):
    """The paper venue broke a rule of its own: a position without its due, money that does not add up."""
