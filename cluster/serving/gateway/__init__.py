"""The HTTP endpoint in front of the engines: OpenAI's API, analyses, administration, metrics.

Owns everything between a socket and a `cluster.serving.backend.Backend`.  Knows neither Ray nor vLLM.
"""

from cluster.serving.gateway.app import build_gateway
from cluster.serving.gateway.settings import GatewaySettings, Tokens

__all__ = ["GatewaySettings", "Tokens", "build_gateway"]
