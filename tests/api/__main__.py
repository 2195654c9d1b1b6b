"""``python -m tests.api`` shows what has changed in the public interface; ``--accept`` keeps it."""

import sys

import click

from tests.api.pinned import FILE, current, difference


@click.command(help=__doc__)
@click.option("--accept", is_flag=True, help=f"Write {FILE.name}.")
def main(accept: bool) -> None:
    """Show or accept changes; the exit code is 1 if there are some that aren't accepted."""
    text = current()
    change = difference(FILE.read_text(encoding="utf-8") if FILE.exists() else "", text)
    click.echo(change or f"{FILE}: nothing has changed")
    if accept:
        FILE.write_text(text, encoding="utf-8")
    sys.exit(bool(change) and not accept)


if __name__ == "__main__":
    main()
