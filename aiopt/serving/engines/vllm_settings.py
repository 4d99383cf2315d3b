"""A profile's engine settings in vLLM's words.  Imports neither Ray nor vLLM."""

from __future__ import annotations

import os
from typing import Any

from aiopt.serving.gateway.chat_types import MAX_STOPS
from aiopt.serving.swap.proof import EngineSpec


def engine_arguments(spec: EngineSpec) -> dict[str, Any]:
    """Return vLLM's engine arguments, without model and served name."""
    settings = spec.settings
    arguments: dict[str, Any] = {
        "dtype": settings.dtype,
        "max_model_len": spec.context_tokens,
        "max_num_seqs": settings.max_sequences,
        "enforce_eager": settings.eager,
        "enable_prefix_caching": settings.prefix_caching,
        "trust_remote_code": spec.checkpoint.remote_code,
        # A weak model pads JSON with white space until its tokens are used up.
        "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
        "disable_log_stats": True,
        "seed": 0,
    }
    if spec.checkpoint.images:
        arguments["limit_mm_per_prompt"] = {"image": settings.max_images, "video": 0}
    if spec.device == "gpu":
        arguments["gpu_memory_utilization"] = settings.gpu_memory_share
        arguments["enable_sleep_mode"] = settings.sleep_mode
    return arguments | settings.extra


def engine_environment(spec: EngineSpec, *, python_path: str) -> dict[str, str]:
    """Return the variables an engine's processes start with.

    Parameters
    ----------
    spec : EngineSpec
        The engine.
    python_path : str
        Where its processes import from, see `aiopt.torchvision_ops`.
    """
    environment = {
        "PYTHONPATH": python_path,
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_LOGGING_LEVEL": "WARNING",
        "RAY_USAGE_STATS_ENABLED": "0",
        # vLLM takes four unless it is told otherwise.
        "VLLM_MAX_STOP_STRINGS": str(MAX_STOPS),
    }
    # A folder is loaded, never a hub id, so nothing has to be asked of the hub.
    environment |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    if spec.device == "cpu":
        threads = spec.settings.threads or os.cpu_count() or 1
        environment |= {
            "VLLM_CPU_KVCACHE_SPACE": str(spec.settings.kv_cache_gib),
            # Ray would set it to the replica's share of CPUs.  Reference and engine must add up in the same
            # order, so both get the same number.
            "OMP_NUM_THREADS": str(threads),
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        }
    return environment
