"""The commands of `damon`, as their help says it."""

from collections.abc import Iterator

import click
from damon_cli.commands import installed_commands
from damon_cli.main import main

from docs.sphinx.reference.markdown import code, table

#: Characters of an option with its value that leave room for what it means.
_LONGEST = 50


def commands() -> str:
    """Return every command with its arguments and options."""
    context = click.Context(main, info_name="damon", max_content_width=100)
    lines = [*_about(main, context, 2)]
    for name, installed in installed_commands().items():
        lines += _command(installed.load(), name, context, 2, installed.package)
    return "\n".join(lines)


def _command(
    command: click.Command, name: str, parent: click.Context, level: int, package: str = ""
) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent, max_content_width=100)
    yield f"{'#' * level} {code(context.command_path)}\n"
    if package:
        yield f"Of the package {code(package.partition(' ')[0])}.\n"
    yield from _about(command, context, level)
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            _, found, _ = command.resolve_command(context, [inner])
            if found is not None:
                yield from _command(found, inner, context, level + 1)


def _about(command: click.Command, context: click.Context, _level: int) -> Iterator[str]:
    usage = " ".join((context.command_path, *command.collect_usage_pieces(context)))
    yield f"```text\n{usage}\n```\n"
    yield from _text(command.help or "")
    options = [each for each in command.get_params(context) if isinstance(each, click.Option)]
    records = [each.get_help_record(context) for each in options if not each.hidden]
    rows = [_row(*record) for record in records if record is not None]
    yield table(("option", "meaning"), rows)
    yield from _text(command.epilog or "")


def _row(option: str, meaning: str) -> tuple[str, str]:
    """Return a row of the table; many choices are written where there is room for them."""
    name, _, choices = option.partition(" [")
    if len(option) <= _LONGEST or "|" not in choices:
        return code(option), meaning
    values = ", ".join(choices.rstrip("]").split("|"))
    return code(name), f"{meaning} One of {values}."


def _text(text: str) -> Iterator[str]:
    """Yield the paragraphs of a help text; what isn't to be wrapped is a block."""
    for paragraph in text.strip().split("\n\n"):
        lines = [line.rstrip() for line in paragraph.splitlines()]
        if lines and lines[0] == "\b":
            kept = ("" if line == "\b" else line for line in lines[1:])
            yield "\n".join(("```text", *kept, "```")) + "\n"
        elif lines and lines[0].startswith("Example: "):
            yield "\n".join(("```text", " ".join(line.strip() for line in lines), "```")) + "\n"
        elif lines:
            yield _escaped(" ".join(line.strip() for line in lines if line != "\b")) + "\n"


def _escaped(text: str) -> str:
    return text.replace("*", "\\*").replace("<", "\\<").replace("[", "\\[")
