"""The HTTP endpoint in front of the engines: OpenAI's API, analyses, administration, metrics.

Owns everything between a socket and a `aiopt.serving.backend.Backend`.  Knows neither Ray nor vLLM.
"""

from aiopt.serving.gateway.app import build_gateway
from aiopt.serving.gateway.settings import GatewaySettings, Tokens

__all__ = ["GatewaySettings", "Tokens", "build_gateway"]
