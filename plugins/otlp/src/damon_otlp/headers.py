"""Headers that deliveries have, such as credentials: never part of the configuration itself."""

import os
import re

from damon_core import InputError
from damon_otlp.options import OtlpOptions

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def read_headers(options: OtlpOptions) -> dict[str, str]:
    """Return the headers that options name.

    Raises:
        InputError: They can't be read, or aren't headers. The message has no values.
    """
    if options.headers_file is not None:
        where = f"headers_file {options.headers_file}"
        try:
            lines = options.headers_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
            raise InputError(f"{where}: can't be read: {reason}") from error
    elif options.headers_variable is not None:
        where = f"environment variable {options.headers_variable}"
        lines = os.environ.get(options.headers_variable, "")
    else:
        return {}
    headers = {}
    for number, line in enumerate(lines.splitlines(), 1):
        name, colon, value = (part.strip() for part in line.partition(":"))
        if not line.strip():
            continue
        if not colon or not _NAME.fullmatch(name) or not value:
            raise InputError(f"{where}: line {number} isn't a header: write 'Name: value'")
        if not (value.isascii() and value.isprintable()):
            raise InputError(f"{where}: line {number}: a value must be printable ASCII")
        headers[name.lower()] = value
    if not headers:
        raise InputError(f"{where}: is not set or empty: write one 'Name: value' a line")
    return headers
