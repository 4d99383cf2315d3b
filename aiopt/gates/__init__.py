"""What a gate of readings is worth: the same strategy with and without it on the same bars.

Owns the comparison, its control and its verdict.  Knows no model: readings come with the bars.
"""

from aiopt.gates.judging import Control, GateJudgement, SideOfGate, judge_gate
from aiopt.gates.shuffling import shuffled

__all__ = ["judge_gate", "GateJudgement", "SideOfGate", "Control", "shuffled"]
