"""What becomes of the scripts of a run.  Owns the settings only; knows no stage."""

from __future__ import annotations

from typing import Literal

import msgspec


class PineConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What becomes of the emitted scripts.

    Attributes
    ----------
    verify : str
        ``"auto"``: verify them where the Pine engine is installed; ``"on"``: fail where it is not; ``"off"``.
    """

    verify: Literal["auto", "on", "off"] = "auto"
