"""`aiopt model merge`: a LoRA adapter and its base become a checkpoint.  Knows options and wording."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from aiopt.cli.options import OutFolder, json_option
from aiopt.cli.output import emit, stderr_console


@click.command(
    epilog="Example: aiopt model merge adapters/first --base openbmb/MiniCPM-V-4.6 --out checkpoints/first"
)
@click.argument("adapter", type=click.Path(path_type=Path))
@click.option(
    "--base", required=True, help="Checkpoint the adapter was trained on: folder, training or hub id."
)
@click.option("--out", required=True, type=OutFolder(), help="Folder of the merged checkpoint.")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16"]),
    default="float32",
    show_default=True,
    help="Of the weights written; bfloat16 rounds.",
)
@click.option("--trust-remote-code", is_flag=True, help="Let the base bring Python code.")
@json_option
def merge(
    adapter: Path,
    base: str,
    out: Path,
    dtype: Literal["float32", "bfloat16"],
    trust_remote_code: bool,
    as_json: bool,
) -> None:
    """Merge a LoRA ADAPTER of peft into its base, in float32 and proved.

    The result is what `aiopt model swap` and `aiopt serve up` take.  An adapter by itself is refused there:
    engines silently ignore one of the vision tower.
    """
    from aiopt.serving.checkpoint.sources import resolve
    from aiopt.training.merging import merge_adapter
    from cluster import lifecycle

    console = stderr_console()
    found = merge_adapter(
        adapter,
        resolve(base, lifecycle.state_dir()),
        out,
        dtype=dtype,
        remote_code=trust_remote_code,
        note=lambda text: console.print(text, soft_wrap=True),
    )
    emit(
        as_json,
        found,
        lambda shown: shown.print(f"{found.path} revision {found.revision[:12]}", soft_wrap=True),
    )
