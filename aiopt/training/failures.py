"""Errors of training.  Owns their classes; where they are raised says why."""

from __future__ import annotations

from aiopt.errors import AioptError


class TrainingError(AioptError):
    """A training cannot go on, or its result is not what it must be."""
