"""Modules that programs under test import are imported before: their forks have them then."""

import contextlib
import gc
import importlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path

_NAME = "modules"


def note_modules(folder: Path) -> None:
    """Note what this program has imported, in a file of the folder."""
    (folder / _NAME).write_text(json.dumps(sorted(sys.modules)))


def import_all(folders: Iterable[Path]) -> None:
    """Import what programs have imported, by what they noted in their folders."""
    notes = [folder / _NAME for folder in folders if (folder / _NAME).exists()]
    for name in sorted({name for note in notes for name in json.loads(note.read_text())}):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    # Forks don't look through what they share with this program.
    gc.collect()
    gc.freeze()
