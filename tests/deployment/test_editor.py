"""The schema in an editor: what language servers say while a configuration is written."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from damon_core.testing import eventually
from tests.documentation.collecting import blocks

ROOT = Path(__file__).parents[2]

#: Servers of editors for TOML: Taplo's, of which PyPI has a fork that it is part of, and another.
SERVERS = {"taplo": ["olpat", "lsp", "stdio"], "tombi": ["tombi", "lsp", "--offline"]}

#: Without this Tombi refuses keys of `[context.primitive]` that depend on `use`.
NOT_STRICT = "#:tombi schema.strict = false\n"

#: A configuration that is being written, at the place of `|`.
WRITTEN = """\
[[context]]
name = "db"
|

[context.primitive]
use = "vaddr"
pid = 1234
"""


class Editor:
    """Asks a language server as editors do, by messages over its input and output.

    Attributes:
        path: The file that is open.
    """

    def __init__(self, server: "subprocess.Popen[bytes]", folder: Path) -> None:
        self.path = folder / "damon.toml"
        self._server = server
        self._asked = 0
        self._underlined: list[tuple[int, str]] = []
        uri = folder.as_uri()
        self._ask(
            "initialize",
            {
                "processId": None,
                "rootUri": uri,
                "workspaceFolders": [{"uri": uri, "name": folder.name}],
                "capabilities": {"workspace": {"configuration": True}},
            },
        )
        self._say("initialized", {})

    def open(self, text: str) -> None:
        """Open the file, with this text."""
        self.path.write_text(text)
        document = {"uri": self.path.as_uri(), "languageId": "toml", "version": 1, "text": text}
        self._say("textDocument/didOpen", {"textDocument": document})

    def proposals(self, text: str) -> dict[str, str]:
        """Return what is proposed where a text has a `|`, with what is said of it."""
        before, _, after = text.partition("|")
        self.open(before + after)
        place = {"line": before.count("\n"), "character": len(before.rpartition("\n")[2])}
        asked = {"textDocument": {"uri": self.path.as_uri()}, "position": place}

        def propose() -> list[dict[str, Any]]:
            found = self._ask("textDocument/completion", asked)
            items: list[dict[str, Any]] = found["items"] if isinstance(found, dict) else found or []
            return items

        items = eventually(propose)  # before the schema is read, nothing is
        return {each["label"]: json.dumps(each.get("documentation", "")) for each in items}

    def underlined(self, text: str) -> list[tuple[int, str]]:
        """Return the lines of a text that are underlined, from 0, and why, once some are."""
        self._underlined = []
        self.open(text)
        while not self._underlined:  # before the schema is read, nothing is
            self._take(self._receive())
        return self._underlined

    def _ask(self, method: str, parameters: object) -> Any:
        self._asked += 1
        self._send({"id": self._asked, "method": method, "params": parameters})
        while True:
            message = self._receive()
            if message.get("id") == self._asked and "method" not in message:
                return message["result"]
            self._take(message)

    def _say(self, method: str, parameters: object) -> None:
        self._send({"method": method, "params": parameters})

    def _take(self, message: dict[str, Any]) -> None:
        """Answer what the server asks, and keep what it says of the file."""
        if message.get("method") == "workspace/configuration":
            # No catalogue of schemas: that would be fetched.
            answer = [{"schema": {"enabled": True, "catalogs": []}}]
            self._send({"id": message["id"], "result": answer * len(message["params"]["items"])})
        elif "id" in message:
            self._send({"id": message["id"], "result": None})
        elif message.get("method") == "textDocument/publishDiagnostics":
            self._underlined = [
                (each["range"]["start"]["line"], each["message"])
                for each in message["params"]["diagnostics"]
            ]

    def _send(self, message: dict[str, Any]) -> None:
        assert self._server.stdin is not None
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._server.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        self._server.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        assert self._server.stdout is not None
        length = 0
        while line := self._server.stdout.readline().strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        assert length, "the language server has ended"
        message: dict[str, Any] = json.loads(self._server.stdout.read(length))
        return message


@pytest.fixture(params=SERVERS)
def editor(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Editor]:
    """Return an editor in a folder with the schema."""
    shutil.copy(ROOT / "docs/damon.schema.json", tmp_path)
    program, *words = SERVERS[request.param]
    command = [str(Path(sys.executable).with_name(program)), *words]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        cwd=tmp_path,
    ) as server:  # fmt: skip
        try:
            yield Editor(server, tmp_path)
        finally:
            server.kill()


def with_schema(text: str) -> str:
    """Return a configuration with the first lines that docs/configuration.md has for editors."""
    (block,) = [each for each in blocks(ROOT / "docs/configuration.md") if "#:schema" in each.text]
    return NOT_STRICT + block.text + text


def test_keys_of_a_context_are_proposed(editor: Editor) -> None:
    """Those that it has not, with what they mean."""
    found = editor.proposals(with_schema(WRITTEN))
    assert {"max_regions", "max_slowdown", "callback"} <= found.keys()
    assert "name" not in found
    assert "the greatest number of regions" in found["max_regions"]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("|", "max_region = 5"), ("|", "max_regions = 0"), ("pid = 1234", 'size = "1GiB"')],
)
def test_mistakes_are_underlined(editor: Editor, right: str, wrong: str) -> None:
    """And nothing else is: a wrong key, a value that can't be, an option of another part."""
    text = with_schema(WRITTEN.replace(right, wrong).replace("|", ""))
    found = editor.underlined(text)
    assert {line for line, _ in found} == {text.splitlines().index(wrong)}
