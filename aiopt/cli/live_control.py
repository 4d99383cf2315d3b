"""Commands of ``aiopt live`` to a session that runs, and looks at one.  Owns flags and what is printed."""

from __future__ import annotations

import getpass
import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from aiopt.cli.live_views import events_command, orders_command, positions_command
from aiopt.cli.options import PATH, json_option
from aiopt.cli.output import emit, print_pairs
from aiopt.errors import EXIT_FAILED, EXIT_OK, ConfigError

if TYPE_CHECKING:
    from aiopt.bus.desk import Outcome

_folder = click.argument("folder", type=PATH)
_strategy = click.argument("strategy")
_maybe_strategy = click.argument("strategy", metavar="[STRATEGY]", required=False)
_COMMON = (
    click.option(
        "--id", "command_id", help="Sent again with the same id it acts once; a new one by default."
    ),
    click.option("--by", help="Who asks, for the audit journal; the user's name by default."),
    click.option(
        "--wait",
        "wait_s",
        type=click.FloatRange(0, min_open=True),
        default=30.0,
        show_default=True,
        help="Seconds to wait for the answer.",
    ),
    json_option,
)


def _asking(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that all of them have."""
    for option in reversed(_COMMON):
        function = option(function)
    return function


@click.command("pause", epilog="Example: aiopt live pause runs/live A1")
@_folder
@_maybe_strategy
@_asking
def pause_command(folder: Path, strategy: str | None, **how: Any) -> int:
    """Let STRATEGY, or all of them, open nothing more; exits go on."""
    return _tell(folder, "pause_entries", {"strategy": strategy}, how)


@click.command("resume", epilog="Example: aiopt live resume runs/live A1")
@_folder
@_maybe_strategy
@_asking
def resume_command(folder: Path, strategy: str | None, **how: Any) -> int:
    """Let STRATEGY, or all of them, open positions again."""
    return _tell(folder, "resume_entries", {"strategy": strategy}, how)


@click.command("set", epilog="Example: aiopt live set runs/live A1 rsi_length=10 oversold=25")
@_folder
@_strategy
@click.argument("values", nargs=-1, required=True, metavar="NAME=VALUE...")
@_asking
def set_command(folder: Path, strategy: str, values: tuple[str, ...], **how: Any) -> int:
    """Give parameters of STRATEGY other values from the next bar on, within the ranges of its search."""
    from aiopt.strategy.choosing import read_settings

    return _tell(folder, "set_parameters", {"strategy": strategy, "values": read_settings(values)}, how)


@click.command("levels", epilog="Example: aiopt live levels runs/live A1 --stop 1.0812")
@_folder
@_strategy
@click.option("--position", "position_id", help="Which one; needed where it holds several.")
@click.option("--stop", type=float, help="Price of the stop loss.")
@click.option("--target", type=float, help="Price of the target.")
@_asking
def levels_command(
    folder: Path, strategy: str, position_id: str | None, stop: float | None, target: float | None, **how: Any
) -> int:
    """Move stop loss, target or both of a position that STRATEGY holds."""
    if stop is None and target is None:
        raise ConfigError("There must be something to move, but got neither. Give --stop, --target or both.")
    fields = {"strategy": strategy, "stop": stop, "target": target}
    return _tell(
        folder, "set_levels", fields | {"position_id": _position(folder, strategy, position_id)}, how
    )


@click.command("size", epilog="Example: aiopt live size runs/live 0.5 A1")
@_folder
@click.argument("factor", type=click.FloatRange(0, 10))
@_maybe_strategy
@_asking
def size_command(folder: Path, factor: float, strategy: str | None, **how: Any) -> int:
    """Multiply the size of new positions, of STRATEGY or of all, by FACTOR (0 to 10)."""
    return _tell(folder, "set_size_factor", {"strategy": strategy, "factor": factor}, how)


@click.command("spec", epilog="Example: aiopt live spec runs/live A1 my_strategy.yaml")
@_folder
@_strategy
@click.argument("spec")
@_asking
def spec_command(folder: Path, strategy: str, spec: str, **how: Any) -> int:
    """Let STRATEGY go on by another SPEC (file or ready family) from the next bar on.

    It must hold nothing.  The indicators are warmed up on all bars of the session.
    """
    return _tell(folder, "swap_spec", {"strategy": strategy, "spec": _document(spec)}, how)


@click.command("mode", epilog="Example: aiopt live mode runs/live observe A1")
@_folder
@click.argument("mode", type=click.Choice(["observe", "trade"]))
@_maybe_strategy
@_asking
def mode_command(folder: Path, mode: str, strategy: str | None, **how: Any) -> int:
    """Let STRATEGY, or all, only observe (no entry is sent, what would be is told) or trade again."""
    return _tell(folder, "set_mode", {"strategy": strategy, "mode": mode}, how)


@click.command("model", epilog="Example: aiopt live model runs/live minicpm-v")
@_folder
@click.argument("model")
@_asking
def model_command(folder: Path, model: str, **how: Any) -> int:
    """Ask another MODEL for readings; `rules` reads by rules."""
    return _tell(folder, "switch_model", {"model": None if model == "rules" else model}, how)


@click.command("reload", epilog="Example: aiopt live reload runs/live live.yaml")
@_folder
@click.argument("config", type=PATH)
@_asking
def reload_command(folder: Path, config: Path, **how: Any) -> int:
    """Go on by another CONFIG from the next quote on: limits, what a failed strategy leaves, pace, edges.

    Whatever else differs in it is named and refused, and nothing is changed.
    """
    import msgspec

    from aiopt.live.session.live_config import load_live_config

    return _tell(folder, "reload_config", {"config": msgspec.to_builtins(load_live_config(config))}, how)


@click.command("flatten", epilog="Example: aiopt live flatten runs/live A1")
@_folder
@_maybe_strategy
@_asking
def flatten_command(folder: Path, strategy: str | None, **how: Any) -> int:
    """Close at the next quote what STRATEGY, or all of them, hold; they trade on."""
    return _tell(folder, "flatten", {"strategy": strategy}, how)


@click.command("kill", epilog="Example: aiopt live kill runs/live --reason 'the market is closed to us'")
@_folder
@click.option("--reason", default="asked for", show_default=True, help="For the report.")
@_asking
def kill_command(folder: Path, reason: str, **how: Any) -> int:
    """Pull the kill switch: no new orders, cancel, close, confirm flat, halt."""
    return _tell(folder, "kill", {"reason": reason}, how)


@click.command("stop", epilog="Example: aiopt live stop runs/live --flatten")
@_folder
@click.option(
    "--flatten/--keep",
    default=False,
    show_default=True,
    help="Close what is open first, or leave it to the session's next stretch.",
)
@_asking
def stop_command(folder: Path, flatten: bool, **how: Any) -> int:
    """End the session in order; the same `aiopt live run` goes on from there."""
    return _tell(folder, "stop_session", {"flatten": flatten}, how)


@click.command("tell", epilog="Example: aiopt live tell runs/live --bus local:runs/live/bus")
@_folder
@click.option("--bus", help="URL of the bus; the session's own by default.")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0, min_open=True),
    default=30.0,
    show_default=True,
    help="Seconds to publish in.",
)
@json_option
def tell_command(folder: Path, bus: str | None, wait_s: float, as_json: bool) -> int:
    """Publish what a session that does not run could not tell, because its bus was down at the end.

    Exit code 1 if something is still left.
    """
    from aiopt.live.control.telling_rest import tell_rest

    told = tell_rest(folder, bus, wait_s)

    def human(console: Console) -> None:
        print_pairs(console, [("published", f"{told.published:,} events"), ("left", f"{told.left:,}")])

    emit(as_json, told, human)
    return EXIT_FAILED if told.left else EXIT_OK


def add_control_commands(group: click.Group) -> None:
    """Add them all to ``aiopt live``."""
    for one in (
        *(pause_command, resume_command, set_command, levels_command, size_command, spec_command),
        *(mode_command, model_command, reload_command, flatten_command, kill_command, stop_command),
        tell_command,
        *(orders_command, positions_command, events_command),
    ):
        group.add_command(one)


def _tell(folder: Path, name: str, fields: dict[str, Any], how: dict[str, Any]) -> int:
    """Give a command to the session of a folder and print what became of it."""
    from aiopt.bus.codec import decode_command
    from aiopt.live.control.control_socket import ask
    from aiopt.live.session.status import status_of

    status = status_of(folder)
    common = {
        "command": name,
        "id": how["command_id"] or uuid.uuid4().hex,
        "session": status["session"],
        "by": how["by"] or getpass.getuser(),
        "made_ns": time.time_ns(),
    }
    given = {key: value for key, value in fields.items() if value is not None or key == "model"}
    if status["state"] != "runs":
        raise ConfigError(_not_running(folder, status, given | {"command": name}))
    outcome = ask(folder, decode_command(json.dumps(common | given).encode()), how["wait_s"])
    emit(how["as_json"], outcome, lambda console: _print(console, outcome))
    return EXIT_OK if outcome.status == "applied" else EXIT_FAILED


def _not_running(folder: Path, status: dict[str, Any], document: dict[str, Any]) -> str:
    if status["state"] == "ended":
        return f"The session in {folder} is at the end of its feed: there is nothing to command any more."
    url = status["bus"] or "BUS"
    sent = f"aiopt bus send {url} {status['session']} '{json.dumps(document)}' --wait 0"
    why = "" if status["bus"] else " (BUS is what you give to `aiopt live run --bus`)"
    return (
        f"A command needs a session that runs, but no process runs the one in {folder}. Run it again, or "
        f"leave the command on its bus, where it is taken before the first quote{why}: {sent}"
    )


def _position(folder: Path, strategy: str, position_id: str | None) -> str:
    """Return the position that is meant."""
    from aiopt.live.session.status import status_of

    if position_id is not None:
        return position_id
    held = [one["position_id"] for one in status_of(folder)["positions"] if one["strategy"] == strategy]
    if len(held) == 1:
        return str(held[0])
    got = f"it holds {', '.join(held)}" if held else "it holds none"
    raise ConfigError(f"One position of {strategy} must be meant, but {got}. Name it with --position.")


def _document(text: str) -> dict[str, Any]:
    """Return a spec as a document, with its search where it has one."""
    from aiopt.config import decode
    from aiopt.strategy.choosing import find_strategy, search_of
    from aiopt.yaml_text import load_yaml

    spec, source = find_strategy(text)
    space = search_of(text, source)
    if space is None:
        found: dict[str, Any] = json.loads(spec.to_json())
        return found
    return decode(load_yaml(space.to_yaml()), dict[str, Any], where=text)


def _print(console: Console, outcome: Outcome) -> None:
    pairs = [("command", f"{outcome.command} {outcome.command_id}"), ("outcome", outcome.status)]
    if outcome.again:
        pairs.append(("", "answered before: it acted once"))
    if outcome.reason:
        pairs.append((outcome.rule or "reason", outcome.reason))
    for name in ("before", "after"):
        if value := getattr(outcome, name):
            pairs.append((name, json.dumps(value)))
    print_pairs(console, pairs)
