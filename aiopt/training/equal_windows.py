"""Attention of MiniCPM-V 4.6's vision tower for pictures of equal size: all windows in one call.

transformers walks through the 2×2 windows of a picture one by one where there is no flash attention: more
than two thousand calls for a batch of sixteen charts.  Windows of equal length attend in one call instead,
with the same result but for the order of sums.  Owns that; parameters and their names stay as they are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

ATTENTION = "MiniCPMV4_6VisionAttention"


def join_equal_windows(model: Any) -> int:
    """Let the vision tower of a model attend to windows of equal length together.

    Parameters
    ----------
    model : Any
        A module of transformers; one without such a tower is left as it is.

    Returns
    -------
    int
        Layers changed.
    """
    layers = [module for module in model.modules() if type(module).__name__ == ATTENTION]
    for layer in layers:
        if layer.config._attn_implementation == "sdpa":
            layer.forward = _Joined(layer, layer.forward)
    return len(layers)


class _Joined:
    """The forward pass of one layer."""

    def __init__(self, layer: Any, one_by_one: Any) -> None:
        self._layer, self._one_by_one = layer, one_by_one

    def __call__(
        self,
        hidden_states: torch.Tensor,
        cu_seqlens: torch.Tensor,
        max_seqlen: int | None = None,
        attention_mask: torch.Tensor | None = None,
        **others: Any,
    ) -> tuple[torch.Tensor, None]:
        """Attend within windows; `hidden_states` is (1, tokens, hidden), `cu_seqlens` their borders."""
        layer = self._layer
        lengths = (cu_seqlens[1:] - cu_seqlens[:-1]).tolist()
        if len(set(lengths)) != 1 or hidden_states.shape[0] != 1:
            found: tuple[torch.Tensor, None] = self._one_by_one(
                hidden_states, cu_seqlens, max_seqlen, attention_mask, **others
            )
            return found
        shape = (len(lengths), lengths[0], -1, layer.head_dim)
        query, key, value = (
            project(hidden_states).reshape(shape).transpose(1, 2)
            for project in (layer.q_proj, layer.k_proj, layer.v_proj)
        )
        dropout = layer.attention_dropout if layer.training else 0.0
        seen = functional.scaled_dot_product_attention(
            query, key, value, dropout_p=dropout, scale=layer.scaling
        )
        return layer.out_proj(seen.transpose(1, 2).reshape(hidden_states.shape)), None
