"""A JSON document that may be longer than memory: walked value by value."""

import json
import re
from collections.abc import Iterator
from typing import Any, cast

from damon_core import DamonError
from damon_damo.source import Text

_spaces = re.compile(r"[ \t\n\r]*")
_decode = json.JSONDecoder().raw_decode
#: No single value is longer: what goes on like this is no JSON.
_MOST_CHARACTERS = 1 << 28
#: There is no reason for more, and compressed they take hardly any room.
_MOST_SPACES = 1 << 24


class Document:
    """A place in a document.

    Args:
        text: The text from there on.
    """

    def __init__(self, text: Text) -> None:
        self._source = text
        self._text = ""
        self._at = 0

    def fork(self) -> "Document":
        """Return the same place, to go on from apart from this one."""
        other = Document(self._source.fork())
        other._text = self._text[self._at :]
        return other

    def peek(self) -> str:
        """Return the next character that isn't a space; empty at the end."""
        spaces = 0
        while True:
            end = cast("re.Match[str]", _spaces.match(self._text, self._at)).end()
            spaces += end - self._at
            self._at = end
            if end < len(self._text):
                return self._text[end]
            if spaces > _MOST_SPACES:
                raise self.damaged(f"it has more than {_MOST_SPACES >> 20} MiB of spaces in a row")
            if not self._read(1):
                return ""

    def take(self, character: str) -> None:
        """Go over a character.

        Raises:
            DamonError: There is another one.
        """
        found = self.peek()
        if found != character:
            raise self.damaged(f"there is {found!r} where {character!r} belongs")
        self._at += 1

    def value(self) -> Any:
        """Return a whole value and go over it.

        Raises:
            DamonError: There is none.
        """
        if not self.peek():
            raise self.damaged("it ends in the middle")
        while True:
            try:
                value, end = _decode(self._text, self._at)
            except (json.JSONDecodeError, RecursionError) as error:
                # Either it isn't all there yet, or it is wrong; twice as much text shows which.
                left = len(self._text) - self._at
                if left > _MOST_CHARACTERS or not self._read(left):
                    raise self.damaged("its end is missing, or it isn't JSON") from error
            except ValueError as error:
                # A whole number of thousands of digits, which Python doesn't read.
                raise self.damaged(str(error).partition(";")[0]) from error
            else:
                # A number at the end of the text may go on.
                if end < len(self._text) or not self._read(1):
                    self._at = end
                    return value

    def items(self) -> Iterator[Any]:
        """Yield the elements of an array, each a whole value."""
        self.take("[")
        if self.peek() == "]":
            self.take("]")
            return
        while True:
            yield self.value()
            if self.peek() == "]":
                self.take("]")
                return
            self.take(",")

    def entries(self) -> Iterator[str]:
        """Yield the keys of an object; the caller goes over the value of each."""
        self.take("{")
        if self.peek() == "}":
            self.take("}")
            return
        while True:
            key = self.value()
            self.take(":")
            yield str(key)
            if self.peek() == "}":
                self.take("}")
                return
            self.take(",")

    def damaged(self, what: str) -> DamonError:
        """Return an error that says what is wrong with the file."""
        return self._source.source.damaged(what)

    def _read(self, at_least: int) -> bool:
        """Read at least this many characters more, if there are; return whether there were any."""
        pieces = [self._text[self._at :]]
        while at_least > 0 and (piece := self._source.read()):
            pieces.append(piece)
            at_least -= len(piece)
        self._text = "".join(pieces)
        self._at = 0
        return len(pieces) > 1
