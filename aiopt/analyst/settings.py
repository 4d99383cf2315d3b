"""Settings of the analyst.  Owns their fields, defaults and rules; opens no connection."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from aiopt.analyst.prompts import DEFAULT_PROMPT, SHORT_PROMPT, check_prompt
from aiopt.charts import ChartSpec, IndicatorPlot
from aiopt.errors import ConfigError

ResponseFormat = Literal["auto", "json_schema", "json_object", "none"]

TOKEN_VARIABLE = "AIOPT_ANALYST_TOKEN"
MAX_MEMBERS = 16

DEFAULT_CHART = ChartSpec(
    overlays=(IndicatorPlot(kind="ema", args={"length": 20}), IndicatorPlot(kind="ema", args={"length": 50})),
    panes=(IndicatorPlot(kind="rsi"),),
    volume=False,
)


SHORT_CHART = ChartSpec(width=480, height=320, volume=False)
"""What short questions are asked about: candles alone, as sets of tasks draw them."""


class AnalystSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who reads charts, and how they are asked.

    Attributes
    ----------
    endpoint : str or None
        Base URL of an OpenAI-compatible API, e.g. ``http://127.0.0.1:8000/v1``.  None: the rules read.
    models : tuple of str
        Served names.  Every model is asked with every prompt; several make an ensemble.
    prompts : tuple of str
        Versions of `aiopt.analyst.prompts.PROMPTS`; or ``short/1`` alone, for models that answer short
        questions, whose chart is then `SHORT_CHART`.
    token_variable : str
        Environment variable that holds the bearer token; none is sent where it is unset.
    timeout_s : float
        Per HTTP request and attempt.
    retries : int
        Further attempts after a refused connection, 429, 502, 503 or 504.
    max_tokens : int
        Of a reply.
    temperature : float
        0 for the most likely reply.
    seed : int
        Sent with each request.
    concurrency : int
        Requests in flight at once.
    picture : bool
        Send the chart; False for text-only models.
    numbers : bool
        Write the last bars out as numbers beside the chart; False to ask what the picture alone tells.
    response_format : {"auto", "json_schema", "json_object", "none"}
        How the schema is enforced.  ``"auto"`` begins with ``json_schema`` and steps down when the
        endpoint refuses it.
    bars : int
        Bars of a chart.
    chart : ChartSpec
        How charts are drawn.

    Raises
    ------
    ConfigError
        If a value breaks a rule.
    """

    endpoint: str | None = None
    models: tuple[str, ...] = ("minicpm",)
    prompts: tuple[str, ...] = (DEFAULT_PROMPT,)
    token_variable: str = TOKEN_VARIABLE
    timeout_s: float = 60.0
    retries: int = 3
    max_tokens: int = 1024
    temperature: float = 0.0
    seed: int = 0
    concurrency: int = 4
    picture: bool = True
    numbers: bool = True
    response_format: ResponseFormat = "auto"
    bars: int = 120
    chart: ChartSpec = DEFAULT_CHART

    def __post_init__(self) -> None:
        if self.endpoint is not None:
            parts = urlsplit(self.endpoint)
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                msg = (
                    f"`endpoint` must be a URL like http://HOST:PORT/v1, but is {self.endpoint!r}. Correct "
                    f"it."
                )
                raise ConfigError(msg)
            if parts.username is not None or parts.query:
                msg = "`endpoint` must hold no password and no query. Put the token into the environment."
                raise ConfigError(msg)
        for name in ("models", "prompts"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise ConfigError(f"`{name}` must be different names, at least one, but got {list(values)}.")
        for version in self.prompts:
            check_prompt(version)
        if SHORT_PROMPT in self.prompts:
            self._check_short()
        if len(self.models) * len(self.prompts) > MAX_MEMBERS:
            msg = (
                f"An ensemble may have {MAX_MEMBERS} members, but {len(self.models)} models with "
                f"{len(self.prompts)} prompts are more. Remove some."
            )
            raise ConfigError(msg)
        if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self.token_variable) is None:
            msg = (
                "`token_variable` must be the name of an environment variable, not the token, but got "
                f"{len(self.token_variable)} characters that are none. Use e.g. {TOKEN_VARIABLE}."
            )
            raise ConfigError(msg)
        for name, low, high in (
            ("timeout_s", 0.05, 3600),
            ("retries", 0, 10),
            ("max_tokens", 64, 32_768),
            ("temperature", 0, 2),
            ("seed", 0, 2**31 - 1),
            ("concurrency", 1, 256),
            ("bars", 20, 1000),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"`{low} <= {name} <= {high}` must hold, but got {name}={value}.")

    def _check_short(self) -> None:
        """Check what short questions need, and take their chart."""
        if len(self.prompts) > 1:
            msg = f"`prompts` must be {SHORT_PROMPT} alone, since its charts are drawn otherwise, but got "
            raise ConfigError(f"{msg}{list(self.prompts)}. Read with the others in a run of their own.")
        if not self.picture:
            msg = f"{SHORT_PROMPT} asks what a chart shows, so `picture` must be true, but is false."
            raise ConfigError(f"{msg} Send the picture, or use another prompt.")
        if self.chart not in (DEFAULT_CHART, SHORT_CHART):
            msg = (
                f"{SHORT_PROMPT} shows candles alone at 480×320, as in training, but `chart` says otherwise."
            )
            raise ConfigError(f"{msg} Leave `chart` out.")
        msgspec.structs.force_setattr(self, "chart", SHORT_CHART)

    def asking(self, prompt: str) -> AnalystSettings:
        """Return these settings with a prompt that fits the model, where they leave it at the default.

        Raises
        ------
        ConfigError
            If the prompt does not go with the other settings.
        """
        if self.prompts != (DEFAULT_PROMPT,) or prompt == DEFAULT_PROMPT:
            return self
        fields = msgspec.structs.asdict(self) | {"prompts": (prompt,)}
        return AnalystSettings(**fields)

    @property
    def members(self) -> tuple[tuple[str, str], ...]:
        """Every model with every prompt version."""
        return tuple((model, prompt) for model in self.models for prompt in self.prompts)
