"""Readings that later proved right or wrong, as pairs of answers: the better one, and one to prefer it to.

Owns which pair a record of a closed position makes.  A reading at the entry implied how the position would
end: its bias for the position's side a win, against it a loss, neutral flat.  The better answer is what came
of it.  Where the reading was wrong, the other answer is the one it gave; where it was right, the contrary of
it.  Wrong readings alone would teach to contradict the reader, whatever the chart shows.
"""

from __future__ import annotations

import msgspec

from aiopt.analyst.answers import answer_text
from aiopt.dataset.tasks.task_config import POSITION_TASKS
from aiopt.dataset.tasks.task_kinds import TASKS

READING_COLUMN = "reading_bias"

_CONTRARY = {"win": "loss", "loss": "win"}


def implied_outcome(task: str, bias: str) -> str:
    """Return how a position ends if a reading is right: win, loss or flat.

    Parameters
    ----------
    task : {"outcome_long", "outcome_short"}
        Says the position's side.
    bias : {"long", "short", "neutral"}
        Of the reading.
    """
    if bias == "neutral":
        return "flat"
    return "win" if task.endswith(bias) else "loss"


def rejected_answer(task: str, answer: str, bias: str | None) -> str | None:
    """Return the answer that the right one is to be preferred to; None where there is no such pair.

    Parameters
    ----------
    task : str
        Of the record.
    answer : str
        The right answer, as the serving grammar writes it.
    bias : str or None
        Of the reading at the entry.

    Returns
    -------
    str or None
        As the grammar writes it.  None for other tasks, without a reading, and where a neutral one was right:
        flat has no contrary.
    """
    if task not in POSITION_TASKS or bias is None:
        return None
    proved = str(msgspec.json.decode(answer)["outcome"])
    given = implied_outcome(task, bias)
    rejected = _CONTRARY.get(given) if given == proved else given
    return None if rejected is None else answer_text({"outcome": rejected}, TASKS[task].schema(1))
