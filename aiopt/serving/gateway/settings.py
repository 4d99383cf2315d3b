"""Limits of the HTTP endpoint, and its tokens.  Owns their defaults and rules; serves nothing."""

from __future__ import annotations

import hashlib
import hmac
from typing import Literal

import msgspec

from aiopt.errors import ConfigError

Realm = Literal["api", "admin"]

TOKEN_MIN_CHARACTERS = 16


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a request may be and how many are worked on.  Key ``gateway`` of a serving profile.

    Attributes
    ----------
    default_model : str
        Model of `/analyze`, `/strategy` and admin calls that name none.
    max_body_bytes : int
        Size of a request's body.
    max_json_depth : int
        Nesting of objects and arrays in a body.
    max_messages : int
        Messages of a chat.
    max_tokens : int
        Tokens a chat may ask for.  One that asks for no number gets the rest of the context, at most these.
    max_choices : int
        Answers per chat (`n`).
    max_images : int
        Images of a request.
    max_image_bytes : int
        Size of an image file.
    max_image_side, max_image_pixels : int
        Dimensions of an image, read from its header before it is decoded.
    max_decoded_bytes : int
        Size of a request's images together once they are decoded, as the PNG files engines are given.
    image_threads : int
        Images decoded at once.
    max_schema_bytes : int
        Size of a JSON schema in `response_format`.
    max_batch : int
        Items of an `/analyze` batch.
    max_concurrency : int
        Model requests worked on at once; further ones wait.
    max_queue : int
        Model requests that wait; further ones get 429.
    queue_timeout_s : float
        Longest wait; then 429.
    request_timeout_s : float
        Longest time from a request's head to its answer's end; then 504.
    body_timeout_s : float
        Longest time a body may take to arrive; then 408.
    retry_after_s : float
        What 429 tells the client to wait.
    """

    default_model: str = "minicpm"
    max_body_bytes: int = 32 << 20
    max_json_depth: int = 64
    max_messages: int = 256
    max_tokens: int = 8192
    max_choices: int = 8
    max_images: int = 8
    max_image_bytes: int = 16 << 20
    max_image_side: int = 4096
    max_image_pixels: int = 12_000_000
    max_decoded_bytes: int = 96 << 20
    image_threads: int = 2
    max_schema_bytes: int = 65_536
    max_batch: int = 64
    max_concurrency: int = 64
    max_queue: int = 256
    queue_timeout_s: float = 30.0
    request_timeout_s: float = 300.0
    body_timeout_s: float = 30.0
    retry_after_s: float = 1.0

    def __post_init__(self) -> None:
        if not self.default_model:
            raise ConfigError(
                "gateway.default_model must be a model's name, but is empty. Write e.g. minicpm."
            )
        for field in msgspec.structs.fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name == "max_queue" else 1 if isinstance(value, int) else 0.001
            if not isinstance(value, str) and not least <= value < 1e12:
                raise ConfigError(
                    f"`{least} <= gateway.{field.name}` must hold, but got {value}. Choose a larger number."
                )


class Tokens(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The bearer tokens of the endpoint.

    Attributes
    ----------
    api : tuple of str
        For models, chats and analyses.
    admin : tuple of str
        For `/admin`, and for nothing else but `/metrics` and `/openapi.json`.
    """

    api: tuple[str, ...]
    admin: tuple[str, ...]

    def __post_init__(self) -> None:
        for name, tokens in (("api", self.api), ("admin", self.admin)):
            if not tokens:
                raise ConfigError(f"The gateway needs at least one {name} token, but got none. Generate one.")
            for token in tokens:
                if len(token) < TOKEN_MIN_CHARACTERS or not token.isascii() or not token.isprintable():
                    raise ConfigError(
                        f"A token must be at least {TOKEN_MIN_CHARACTERS} printable ASCII characters, but an "
                        f"{name} token is not. Generate one: python -c 'import secrets; "
                        "print(secrets.token_urlsafe(32))'"
                    )
        if set(self.api) & set(self.admin):
            raise ConfigError(
                "An admin token must not be an API token as well, but one is. Generate another."
            )

    def realm(self, token: str) -> Realm | None:
        """Return what a token opens, in a time that does not depend on the tokens."""
        given = hashlib.sha256(token.encode("utf-8", "replace")).digest()
        found: Realm | None = None
        for realm, tokens in (("api", self.api), ("admin", self.admin)):
            for known in tokens:
                if hmac.compare_digest(given, hashlib.sha256(known.encode()).digest()):
                    found = "api" if realm == "api" else "admin"
        return found
