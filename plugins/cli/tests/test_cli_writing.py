"""Beginning a record."""

from pathlib import Path

import pytest
from damon_cli.writing import begin_record

from damon_core import DamonError, RecordFormat, RecordInfo


@pytest.mark.parametrize("error", [RuntimeError("oops"), SystemExit("oops")], ids=repr)
def test_a_format_that_fails_is_named(error: BaseException, tmp_path: Path) -> None:
    """An exit, too: it would pass for success."""

    def fail(*_: object) -> None:
        raise error

    broken = RecordFormat("rows", (".rows",), fail, fail)  # type: ignore[arg-type]
    with pytest.raises(DamonError, match=f"^format 'rows' fails: {type(error).__name__}: oops$"):
        begin_record(broken, tmp_path / "a.rows", RecordInfo())
