"""A snapshot as rows of CSV."""

import csv
import io

import numpy as np
import numpy.typing as npt

from damon_core import Snapshot

#: The columns; a file begins with exactly this line.
HEADER = b"time_us,context,target,start,end,nr_accesses,max_nr_accesses,age\n"

_DECIMALS = 4


def format_rows(snapshot: Snapshot) -> bytes:
    """Return one row a region, in the order of targets and addresses, as UTF-8.

    Names are quoted where they need it, as Python's csv module does. A row is always one line:
    line breaks in names become ``\\n`` and ``\\r``, and what isn't Unicode becomes ``\\udc80``.
    """
    lines: list[str] = []
    for target in snapshot.targets:
        # Numbers need no quoting, and they are most of it: no need for the csv module.
        head = f"{snapshot.time_us},{_quoted(snapshot.context, target.name)}"
        most = target.max_nr_accesses
        lines += [
            f"{head},{start},{end},{count},{most},{age}\n"
            for start, end, count, age in zip(
                target.start.tolist(),
                target.end.tolist(),
                _counts(target.nr_accesses),
                target.age.tolist(),
                strict=True,
            )
        ]
    return "".join(lines).encode(errors="backslashreplace")


def _quoted(*names: str) -> str:
    """Return fields of a row, each on one line and in quotes where it needs them."""
    text = io.StringIO(newline="")
    one_line = [name.replace("\r", "\\r").replace("\n", "\\n") for name in names]
    csv.writer(text, lineterminator="").writerow(one_line)
    return text.getvalue()


def _counts(nr_accesses: npt.NDArray[np.float64]) -> list[float]:
    """Return counts as whole numbers where they are, else with up to four decimals."""
    rounded: list[float] = nr_accesses.round(_DECIMALS).tolist()
    return [int(count) if count.is_integer() else count for count in rounded]
