"""Commands and flags in the documentation: the reference is generated, every `aiopt …` line parses."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from cluster.cli.main import cli
from docs.generate_cli import PAGE, commands, page, root

ROOT = Path(__file__).resolve().parents[3]
PAGES = [path for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))] if path != PAGE]


def fenced(text: str) -> Iterator[str]:
    """Yield the lines of fenced blocks that call aiopt, continued lines joined."""
    for block in re.findall(r"^```(?:bash|text|console)?\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            found = re.match(r"\s*(?:\$ )?(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?(aiopt .*)", line)
            if found:
                yield found[1]


def inline(text: str) -> Iterator[str]:
    """Yield the code spans that call aiopt."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    for span in re.findall(r"`(aiopt [^`]+)`", text):
        yield " ".join(span.replace(r"\|", "|").split())


def resolve(words: list[str]) -> list[tuple[click.Command, click.Context, list[str]]]:
    """Return the commands that `words` name, `a|b` naming two, each with the words after it."""
    found: list[tuple[click.Command, click.Context, list[str]]] = [(cli, root(), words)]
    done = []
    while found:
        command, context, rest = found.pop()
        if not isinstance(command, click.Group) or not rest or not re.fullmatch(r"[a-z|-]+", rest[0]):
            done.append((command, context, rest))
            continue
        for name in rest[0].split("|"):
            below = command.get_command(context, name)
            assert below is not None, f"no command {name!r} in `{context.command_path}`"
            inner = click.Context(below, info_name=name, parent=context, **below.context_settings)
            found.append((below, inner, rest[1:]))
    return done


def words_of(line: str) -> list[str]:
    """Split a line at spaces as a shell does; what follows a pipe, `>` or `&&` is another program's."""
    plain = line.replace("[", " ").replace("]", " ").replace("…", " ")
    words = shlex.split(plain, comments=True)
    ends = [number for number, word in enumerate(words) if word in {"|", ">", ">>", "&&", ";", "||", "&"}]
    return words[1 : ends[0]] if ends else words[1:]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_line_names_commands_and_flags_that_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for line in [*fenced(text), *inline(text)]:
        for command, context, rest in resolve(words_of(line)):
            if command.context_settings.get("ignore_unknown_options"):
                # What it does not know it hands on, as `aiopt jobs submit` does to a script.
                continue
            flags = {
                name
                for option in command.get_params(context)
                for name in [*option.opts, *option.secondary_opts]
            }
            for word in rest:
                for flag in word.split("|"):
                    if flag.startswith("-") and re.match(r"--?[a-z]", flag):
                        assert flag.split("=")[0] in flags, (
                            f"{path.name}: `{line}`: {context.command_path} has no {flag}"
                        )


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_line_in_a_block_is_one_that_click_parses(path: Path) -> None:
    for line in fenced(path.read_text(encoding="utf-8")):
        if "…" in line:
            continue
        ((command, context, rest),) = resolve(
            shlex.split(line.partition(" | ")[0].partition(" > ")[0], comments=True)[1:]
        )
        assert not isinstance(command, click.Group), f"{path.name}: `{line}` names no command"
        values, _, _ = command.make_parser(context).parse_args(rest)
        for option in command.get_params(context):
            assert not (option.required and values.get(option.name) is None), (
                f"{path.name}: `{line}`: {option.name}"
            )


def test_the_reference_has_a_place_for_every_command() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for path, _, _ in commands(cli, root()):
        assert re.search(rf"^#+ aiopt {' '.join(path)}$", text, flags=re.MULTILINE), path


def test_the_reference_is_what_the_commands_say_today() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "commands or help texts changed: run `python docs/generate_cli.py` and commit docs/reference/cli.md"
    )


def test_the_check_itself_sees_a_flag_and_a_command_that_do_not_exist(tmp_path: Path) -> None:
    wrong = tmp_path / "page.md"
    wrong.write_text("`aiopt runs list --colour`")
    with pytest.raises(AssertionError, match="aiopt runs list has no --colour"):
        test_every_command_line_names_commands_and_flags_that_exist(wrong)
    wrong.write_text("```bash\naiopt ticks fetch\n```")
    with pytest.raises(AssertionError, match="no command 'fetch' in `aiopt ticks`"):
        test_every_command_line_names_commands_and_flags_that_exist(wrong)
