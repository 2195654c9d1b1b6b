"""The work of ``damon convert``: a record in another format."""

import os
from pathlib import Path

import click
from damon_cli.reading import reading_progress

from damon_core import (
    DamonError,
    InputError,
    Plugins,
    RecordReader,
    Snapshot,
    format_of,
    format_size,
)
from damon_record.losses import losses
from damon_record.writing import begin_record

#: So many aggregations are looked at for what the other format doesn't keep.
_SAMPLE = 50


def convert_record(source: Path, output: Path, plugins: Plugins) -> None:
    """Write a record to a new file, and print what the other format doesn't keep.

    Args:
        source: The record.
        output: The file; its ending says the format.
        plugins: What is installed.
    """
    formats = plugins.formats()
    source_format, output_format = format_of(source, formats), format_of(output, formats)
    count = rows = 0
    sample: list[Snapshot] = []
    with source_format.read(source) as reader:
        if os.path.lexists(output):
            raise InputError(f"'{output}' is there already: remove it, or choose another name")
        with (
            begin_record(output_format, output, reader.info) as writer,
            reading_progress("converting", _span_us(reader)) as advance,
        ):
            try:
                for snapshot in reader.snapshots():
                    writer.write(snapshot)
                    count += 1
                    rows += len(snapshot)
                    if count <= _SAMPLE:
                        sample.append(snapshot)
                    advance(snapshot.time_us)
            except (DamonError, OSError) as error:
                raise DamonError(
                    f"{error}; {output} has the {count} aggregations before that"
                ) from error
        info = reader.info
    click.echo(
        f"{count} aggregations, {rows} rows: {format_size(source.stat().st_size)} became "
        f"{format_size(output.stat().st_size)} in {output}"
    )
    with output_format.read(output) as again:
        lost = losses(info, sample, again)
    if lost:
        click.echo(f"{output_format.name} doesn't keep: {', '.join(lost)}")


def _span_us(reader: RecordReader) -> tuple[int, int] | None:
    """Return the time of a record; None if its end is damaged: reading shows how."""
    try:
        return reader.span_us()
    except DamonError:
        return None
