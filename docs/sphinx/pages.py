"""The pages of the site, made of the files that people read on a forge.

They stay where they are, with links that work there. Here they are put together as Sphinx wants
them: each has its place in the site, a link leads to the page of the file that it names, and a file
that isn't a page gets one that shows it. What is generated replaces its mark.
"""

import os
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from attrs import define, field

#: Where generated text goes: a comment, which a forge doesn't show.
_MARK = re.compile(r"^<!-- generated: (\S+) -->$", re.MULTILINE)
#: Code, which stays as it is, or a link or an image.
_LINK = re.compile(r"`[^`]+`|(!?)(\[(?:[^\[\]]|\[[^\]]*\])*\])\(([^)\s]+)\)")
_ABSOLUTE = re.compile(r"[a-z]+:")
_FENCE = re.compile(r" *(```+|~~~+)")
_ENTRY = re.compile(r"^( *)- \[[^\]]*\]\(([^)#]+)\)", re.MULTILINE)
#: Languages that the highlighter knows, by the endings of files.
_LANGUAGES = {
    ".py": "python",
    ".toml": "toml",
    ".json": "json",
    ".yaml": "yaml",
    ".sh": "bash",
    ".java": "java",
    ".service": "ini",
    ".conf": "ini",
}
#: Pages with other names than their files.
_PLACES = {"README.md": "index", "docs/index.md": "index", "changelog.d": "next-version"}
#: It is published as it is, beside the pages.
SCHEMA = "docs/damon.schema.json"
#: What a page begins with that isn't in the sidebar.
_ORPHAN = "---\norphan: true\n---\n\n"
#: Longer files are no reading; they are there to be used.
_MOST_BYTES = 200_000


def place_of(path: str) -> str:
    """Return where the page of a file is in the site, without an ending.

    Args:
        path: The file, from the root of the repository.
    """
    if path in _PLACES:
        return _PLACES[path]
    if match := re.fullmatch(r"plugins/([^/]+)/README\.md", path):
        return f"packages/{match[1]}"
    if match := re.fullmatch(r"docs/(.+)\.md", path):
        return match[1]
    if match := re.fullmatch(r"([A-Z]+)\.md", path):
        return match[1].lower()
    if path.endswith(".md"):
        return f"more/{path.removesuffix('.md').lower()}"
    return f"files/{path}"


@define(eq=False)
class Site:
    """Puts the pages together.

    Args:
        root: The repository.
        files: Every file of it, as git lists them.
        target: An empty directory, or one that was filled before.
        generated: Makes the text for each mark.
    """

    root: Path
    files: frozenset[str]
    target: Path
    generated: Mapping[str, Callable[[], str]]
    #: Pages that are there or waiting, and their files.
    _wanted: dict[str, str] = field(factory=dict, init=False)
    _kept: set[Path] = field(factory=set, init=False)

    def fill(self) -> None:
        """Write all pages: those of docs and of packages, and what they link to."""
        self._want("docs/index.md")
        for path in sorted(self.files):
            if re.fullmatch(r"docs/.+\.md|plugins/[^/]+/README\.md", path):
                self._want(path)
        done: set[str] = set()
        while waiting := sorted(set(self._wanted) - done):
            for place in waiting:
                self._write(f"{place}.md", self._page(self._wanted[place]))
            done |= set(waiting)
        for there in self.target.rglob("*"):
            if there.is_file() and there not in self._kept:
                there.unlink()

    def _want(self, path: str) -> str:
        """Return the place of a file's page, which will be there."""
        place = place_of(path)
        self._wanted.setdefault(place, path)
        return place

    def _page(self, path: str) -> str:
        if path.endswith(".md"):
            text = (self.root / path).read_text()
            text = _MARK.sub(lambda mark: self.generated[mark[1]](), text)
            if path == "docs/index.md":
                text = self._with_contents(text)
            head = _ORPHAN if place_of(path).startswith("more/") else ""
            return head + "".join(self._linked(text, path))
        if path == "changelog.d":
            return self._changes()
        if path in self.files:
            return self._shown(path)
        return self._listed(path)

    # -- links -------------------------------------------------------------------------

    def _linked(self, text: str, path: str) -> Iterator[str]:
        """Yield the text with links to places in the site; code stays as it is."""
        fence = ""
        for line in text.splitlines(keepends=True):
            if match := _FENCE.match(line):
                fence = "" if fence and match[1].startswith(fence) else fence or match[1]
                yield line
            elif fence or line.startswith("    "):
                yield line
            else:
                yield _LINK.sub(lambda link: self._link(link, path), line)

    def _link(self, link: re.Match[str], path: str) -> str:
        image, text, target = link.groups()
        if target is None or _ABSOLUTE.match(target) or target.startswith("#"):
            return link[0]
        name, anchor, heading = target.partition("#")
        found = posixpath.normpath(posixpath.join(posixpath.dirname(path), name))
        here = posixpath.dirname(place_of(path))
        if image:
            place = f"images/{posixpath.basename(found)}"
            self._write(place, (self.root / found).read_bytes())
        elif found == SCHEMA:
            place = posixpath.basename(found)
            self._write(place, (self.root / found).read_bytes())
        elif found in self.files or any(each.startswith(f"{found}/") for each in self.files):
            place = f"{self._want(found)}.md"
        else:
            raise ValueError(f"{path} links to {target}, which isn't in the repository")
        return f"{image}{text}({posixpath.relpath(place, here or '.')}{anchor}{heading})"

    # -- pages that are made here --------------------------------------------------------

    def _with_contents(self, text: str) -> str:
        """Return the index with a table of contents of each section, which becomes the sidebar."""
        head, *sections = re.split(r"(?m)^## ", text)
        made = [head]
        for section in sections:
            title = section.partition("\n")[0]
            places = [self._entry(target) for _, target in _ENTRY.findall(section)]
            made.append(f"## {section}")
            if places:
                head = ("```{toctree}", ":hidden:", f":caption: {title}", "")
                made.append("\n".join(("", *head, *places, "```", "", "")))
        return "".join(made)

    def _entry(self, target: str) -> str:
        return f"/{self._want(posixpath.normpath(posixpath.join('docs', target)))}"

    def _shown(self, path: str) -> str:
        """Return a page that shows a file."""
        content = (self.root / path).read_bytes()
        language = _LANGUAGES.get(posixpath.splitext(path)[1], "text")
        if len(content) > _MOST_BYTES:
            return f"{_ORPHAN}# {path}\n\nA file of {len(content):,} bytes.\n"
        text = content.decode()
        fence = "`" * (2 + max((len(run) for run in re.findall(r"`+", text)), default=1))
        return (
            f"{_ORPHAN}# {posixpath.basename(path)}\n\n`{path}`\n\n"
            f"{fence}{language}\n{text.rstrip()}\n{fence}\n"
        )

    def _listed(self, path: str) -> str:
        """Return a page that lists a directory."""
        inside = sorted(each for each in self.files if each.startswith(f"{path}/"))
        here = posixpath.dirname(place_of(path))
        lines = [
            f"- [{each.removeprefix(f'{path}/')}]({posixpath.relpath(self._want(each), here)}.md)"
            for each in inside
            if not each.endswith((".png", ".ipynb", ".parquet"))
        ]
        return f"{_ORPHAN}# {path}\n\n" + "\n".join(lines) + "\n"

    def _changes(self) -> str:
        """Return a page of the changes that the next version has, by kind."""
        kinds: dict[str, list[str]] = {}
        for path in sorted(each for each in self.files if each.startswith("changelog.d/")):
            if match := re.fullmatch(r".+\.(\w+)\.md", path):
                text = (self.root / path).read_text().strip().replace("\n", "\n  ")
                kinds.setdefault(match[1].capitalize(), []).append(f"- {text}")
        lists = (f"## {kind}\n\n" + "\n".join(texts) for kind, texts in kinds.items())
        text = "# The next version\n\n" + "\n\n".join(lists) + "\n"
        # They will be part of that file, and link as it does.
        return _ORPHAN + "".join(self._linked(text, "CHANGELOG.md"))

    # -- files -----------------------------------------------------------------------------

    def _write(self, place: str, content: str | bytes) -> None:
        """Write a file unless it is there already: Sphinx reads what has changed."""
        path = self.target / place
        data = content.encode() if isinstance(content, str) else content
        self._kept.add(path)
        if path.is_file() and path.read_bytes() == data:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path)
