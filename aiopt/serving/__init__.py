"""Serving MiniCPM: checkpoints, gateway, proved swap and the seams to the engine.

Knows nothing of Ray or vLLM.
"""
