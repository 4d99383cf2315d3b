"""What goes wrong on the bus.  Owns the errors; knows nothing of who raises them."""

from __future__ import annotations

from aiopt.errors import AioptError, InputError


class BusError(AioptError):
    """The bus cannot be used as it is: trying again does not help."""


class BusDownError(BusError):
    """The server cannot be reached at this moment: trying again may help."""


class BusFullError(BusError):
    """There is no room before readers have read on: nothing was dropped, whoever publishes has to wait."""


class BusMessageError(InputError):
    """A message breaks its schema, or another version of aiopt wrote it."""
