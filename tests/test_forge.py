"""What a public forge is given: workflows, forms of issues, hooks of git; and commands in docs.

The linters ask nothing of the network, here: what needs it, such as whether a hash is that of its
version, is checked where the workflows run.
"""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import picture
from tests.release.notes import notes

ROOT = Path(__file__).parents[1]
FORGE = ROOT / ".github"
WORKFLOWS = sorted((FORGE / "workflows").glob("*.yml"))
#: What new packages begin with.
TEMPLATE = ROOT / "plugins/author/src/damon_author/template/project"
NEW_PACKAGES = TEMPLATE / ".github/workflows/ci.yml"
CHOOSER = FORGE / "ISSUE_TEMPLATE" / "config.yml"
FORMS = sorted(set(CHOOSER.parent.glob("*.yml")) - {CHOOSER})
EXAMPLES = sorted(ROOT.glob("examples/*/.github/workflows/*.yml"))
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("tests/**/*.md")]


def workflow(name: str) -> dict[str, Any]:
    """Return a workflow."""
    return dict(yaml.safe_load((FORGE / "workflows" / name).read_text()))


def lint(
    program: str, *arguments: str | Path, **variables: str
) -> "subprocess.CompletedProcess[str]":
    """Run a linter of this environment, without what would let it ask the forge."""
    path = str(Path(sys.executable).with_name(program))
    environment = {**os.environ, **variables}
    environment.pop("GH_TOKEN", None)
    return subprocess.run(
        [path, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_actionlint_has_no_complaint() -> None:
    """Syntax, expressions, inputs of actions."""
    done = lint("actionlint", *WORKFLOWS, NEW_PACKAGES)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.slow
def test_zizmor_has_no_complaint() -> None:
    """Pins, permissions, injection, credentials that are left: also what is only suspicious."""
    done = lint("zizmor", "--offline", "--pedantic", "--no-progress", FORGE, NEW_PACKAGES)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_linters_find_what_they_are_for(tmp_path: Path) -> None:
    """An unpinned action, and an expression of what doesn't exist."""
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(
        "on: push\njobs:\n  a:\n    runs-on: ubuntu-24.04\n    steps:\n"
        "      - uses: actions/checkout@v4\n      - run: echo ${{ matrix.missing }}\n"
    )
    assert "unpinned-uses" in lint("zizmor", "--offline", "--no-progress", wrong).stdout
    assert 'property "missing" is not defined' in lint("actionlint", wrong).stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("github-workflows", [*WORKFLOWS, NEW_PACKAGES]),
        ("github-issue-forms", FORMS),
        ("github-issue-config", [CHOOSER]),
        ("dependabot", [FORGE / "dependabot.yml"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_published_schema_accepts_it(schema: str, files: list[Path]) -> None:
    """Those that editors and the forge have."""
    done = lint("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *files)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_hooks_of_git_are_valid_and_pass(tmp_path: Path) -> None:
    """The linters of workflows run by pre-commit, from what is installed here."""
    assert lint("pre-commit", "validate-config", ".pre-commit-config.yaml").returncode == 0
    files = [str(path.relative_to(ROOT)) for path in WORKFLOWS]
    done = lint("pre-commit", "run", "workflows", "--files", *files, PRE_COMMIT_HOME=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.checkout
@pytest.mark.parametrize(
    ("project", "tests"),
    [
        (ROOT / "pyproject.toml", FORGE / "workflows" / "ci.yml"),
        (TEMPLATE / "pyproject.toml.jinja", NEW_PACKAGES),
    ],
    ids=["this repository", "new packages"],
)
def test_the_pythons_that_packages_are_for_are_tested(project: Path, tests: Path) -> None:
    """Each that is named, and the lowest that can install them; others before they are named."""
    text = project.read_text()
    named = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', text)
    (lowest,) = re.findall(r'^requires-python = ">=(.*)"$', text, re.MULTILINE)
    (matrix,) = re.findall(r"^        python: (\[.*\])$", tests.read_text(), re.MULTILINE)
    tested = yaml.safe_load(matrix)
    assert set(named) <= set(tested)
    assert named[0] == tested[0] == lowest


@pytest.mark.checkout
def test_hashes_of_new_packages_are_renewed_too() -> None:
    """Dependabot looks below the root only where the folder is named."""
    (actions,) = [
        each
        for each in yaml.safe_load((FORGE / "dependabot.yml").read_text())["updates"]
        if each["package-ecosystem"] == "github-actions"
    ]
    others = [f"/{path.parent.relative_to(ROOT)}" for path in (NEW_PACKAGES, *EXAMPLES)]
    assert actions["directories"] == ["/", *others]


def test_what_is_published_is_what_was_tested() -> None:
    """Only the job that publishes may sign in there, and it builds nothing."""
    jobs = workflow("release.yml")["jobs"]
    signing = {name for name, job in jobs.items() if "id-token" in job["permissions"]}
    assert signing == {"publish"}
    assert [step for step in jobs["publish"]["steps"] if "run" in step] == []
    assert any("make release-check" in step.get("run", "") for step in jobs["build"]["steps"])


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_modules_that_workflows_run_are_there(path: Path) -> None:
    """As scripts: nobody tries a release before there is one."""
    modules = re.findall(r"python -m (tests\.[\w.]+)", path.read_text())
    assert [each for each in modules if importlib.util.find_spec(each) is None] == []


def test_notes_of_a_release_are_what_the_changelog_says_of_it() -> None:
    """Without its heading, and without other versions."""
    newer = "# Changelog\n\n## 1.10 (2027)\n\nc\n\n"
    changelog = f"{newer}## 1.1 (2026)\n\n### Added\n\n- b\n\n## 1.0 (2025)\na\n"
    assert notes(changelog, "1.1") == "### Added\n\n- b"
    assert notes(changelog, "1.0") == "a"
    assert notes(changelog, "2.0") is None


def targets() -> set[str]:
    """Return what `make` can be asked for, besides files."""
    (line,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return set(line.split())


def asked_of_make(text: str) -> set[str]:
    """Return what is asked of make in code of a page or in a workflow."""
    return set(re.findall(r"(?:`|^ {4,}|run: )make ([a-z][a-z-]*)(?![\w.])", text, re.MULTILINE))


@pytest.mark.parametrize("page", [*PAGES, *WORKFLOWS], ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_asked_of_make_is_there(page: Path) -> None:
    """A command in a page that doesn't exist is the first thing that a reader finds."""
    assert asked_of_make(page.read_text()) - targets() == set()


def test_a_missing_target_is_found() -> None:
    """The check fails on what it is for: commands in the text, in blocks, and in workflows."""
    text = "`make tea`\n\n    make coffee     # hot\n\n      run: make juice\n\nmake haste"
    assert asked_of_make(text) == {"tea", "coffee", "juice"}


def test_the_picture_of_the_architecture_is_what_is_checked() -> None:
    """CONTRIBUTING.md has the layers that import-linter checks: `make picture` draws them."""
    assert picture.drawn() == picture.picture()
