"""Bare vLLM asked directly, in a process of its own: the questions of a file, so many at a time.

Reads ``{"model", "arguments", "schema", "max_tokens", "questions", "at_once"}`` from the file named first,
and writes seconds and completion tokens for each number of questions at a time to the one named second.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any


def main(given: Path, out: Path) -> None:
    """Ask everything and write what it took."""
    from vllm import LLM, SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    job: dict[str, Any] = json.loads(given.read_text())
    engine = LLM(model=job["model"], **job["arguments"])
    sampling = SamplingParams(
        max_tokens=job["max_tokens"],
        temperature=0.0,
        seed=0,
        structured_outputs=StructuredOutputsParams(json=job["schema"]),
    )
    engine.chat(job["questions"][:2], sampling, use_tqdm=False)  # compiles the grammar
    found: dict[str, Any] = {}
    for at_once, (first, count) in job["at_once"].items():
        questions = job["questions"][first : first + count]
        began = time.perf_counter()
        tokens = 0
        for start in range(0, count, int(at_once)):
            answers = engine.chat(questions[start : start + int(at_once)], sampling, use_tqdm=False)
            tokens += sum(len(answer.outputs[0].token_ids) for answer in answers)
        found[at_once] = {"seconds": time.perf_counter() - began, "questions": count, "tokens": tokens}
    out.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
