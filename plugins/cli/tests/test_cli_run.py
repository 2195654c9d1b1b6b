"""`damon run` as a real process: its ends, its order, its exit codes."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from damon_core.testing import eventually

DAMON = Path(sys.executable).parent / "damon"

#: A package with a primitive and a callback that write down what happens to them.
PACKAGE = """
import os, time
from pathlib import Path

from attrs import frozen

from damon_core import Callback, InputError, Primitive, Range, Regions, Target, hookimpl

@frozen
class Options:
    path: Path
    checks: int = 1_000_000_000
    raises: str = ""
    hook: str = "init"

def say(path, *words):
    with path.open("a") as file:
        print(*words, file=file)

class Memory:
    name = "memory"

    def __init__(self, options, backends):
        self.options, self.checks = options, 0

    def act(self, context, hook):
        say(self.options.path, context.name, hook)
        if self.options.raises and hook == self.options.hook:
            raise {"input": InputError, "other": RuntimeError, "exit": SystemExit}[
                self.options.raises
            ]("no memory")

    @hookimpl
    def init(self, context):
        self.act(context, "init")
        context.targets.append(Target("t", Regions.evenly([Range(0, 1 << 20)], context.limits)))

    @hookimpl
    def check_accesses(self):
        self.checks += 1

    @hookimpl
    def target_valid(self):
        return self.checks < self.options.checks

    @hookimpl
    def cleanup(self, context):
        self.context = context
        self.act(context, "cleanup")

    @hookimpl
    def release(self):
        self.act(self.context, "release")

@frozen
class NoteOptions:
    path: Path
    hangs: str = ""
    stops: bool = False
    fails_once: bool = False

class Note:
    name = "note"

    def __init__(self, options):
        self.path, self.options = options.path, options

    def hang_in(self, hook, name):
        if self.options.hangs == hook:
            say(self.path, name, "hangs")
            time.sleep(1e6)

    @hookimpl
    def after_aggregation(self, context):
        say(self.path, context.name, "aggregation", os.getpid())
        self.hang_in("after_aggregation", context.name)
        if self.options.fails_once and context.snapshot.number == 2:
            raise OSError("no room")
        return self.options.stops

    @hookimpl
    def before_terminate(self, context):
        say(self.path, context.name, "before_terminate")

    @hookimpl
    def release(self):
        self.hang_in("release", "-")

@hookimpl
def register_primitives(register):
    register(Primitive("t-memory", Memory, Options))

@hookimpl
def register_callbacks(register):
    register(Callback("t-note", Note, NoteOptions))
"""


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is installed for the processes of these tests."""
    site = tmp_path / "site"
    info = site / "t_run-0.1.dist-info"
    info.mkdir(parents=True)
    (site / "t_run.py").write_text(PACKAGE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: t-run\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[damon]\nt-memory = t_run\nt-note = t_run\n")
    monkeypatch.setenv("PYTHONPATH", str(site))


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Where the parts write down what happens to them."""
    return tmp_path / "notes"


@pytest.fixture
def config(tmp_path: Path, notes: Path) -> Callable[..., Path]:
    """Write a configuration of contexts, each given as TOML lines for its primitive.

    Lines behind "callback:" are for its callback.

    With the default CPU budget, 2 %, a check each millisecond would be stretched to one in 20.
    """

    def write(*, stop_timeout: str = "10s", **contexts: str) -> Path:
        path = tmp_path / "damon.toml"
        text = ""
        for name, lines in contexts.items():
            own, _, of_callback = lines.partition("callback:")
            text += (
                f'[[context]]\nname = "{name}"\nstop_timeout = "{stop_timeout}"\n'
                'sampling_interval = "1ms"\naggregation_interval = "5ms"\ncpu_budget = 1.0\n'
                f'[context.primitive]\nuse = "t-memory"\npath = "{notes}"\n{own}\n'
                f'[[context.callback]]\nuse = "t-note"\npath = "{notes}"\n{of_callback}\n'
            )
        path.write_text(text)
        return path

    return write


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `damon` with arguments; it is killed if a test leaves it running."""
    started: list[subprocess.Popen[str]] = []

    def popen(*args: str | Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            # The tests themselves may run under nohup, which children would take over.
            ["env", "--default-signal=HUP", str(DAMON), *map(str, args)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield popen
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def run(*args: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `damon` to its end."""
    result = subprocess.run([DAMON, *args], check=False, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in result.stderr
    return result


def lines(stderr: str) -> list[str]:
    """Return the lines of a log without times, and without those of all that begins and ends.

    Nor those of what was slow, as on a busy machine.
    """
    found = [re.sub(r"^\d{4}-\S+ (?=damon: )", "", line) for line in stderr.splitlines()]
    usual = re.compile(
        r"damon: INFO: (?:started, |stopping |context '.' (?:begins|has)|all )|.* checks missed$"
    )
    return [line for line in found if not usual.match(line)]


def wait_for(notes: Path, line: str) -> None:
    """Wait until something was written down."""
    eventually(lambda: notes.exists() and line in notes.read_text())


def of(notes: Path, name: str) -> list[str]:
    """Return what happened to one context, aggregations in a row as one."""
    lines: list[str] = []
    for line in notes.read_text().splitlines():
        context, what, *_ = line.split()
        if context == name and not (what == "aggregation" and lines[-1] == what):
            lines.append(what)
    return lines


#: What happens when a context runs to its end, and then is closed.
END = ["before_terminate", "cleanup", "cleanup", "release"]
WHOLE = ["init", "aggregation", *END]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_signals_end_all_contexts_in_order(
    number: signal.Signals,
    notes: Path,
    config: Callable[..., Path],
    start: Callable[..., subprocess.Popen[str]],
) -> None:
    """A signal ends every context as `stop` does, and is a success."""
    process = start("run", config(a="", b=""))
    wait_for(notes, "a aggregation")
    wait_for(notes, "b aggregation")
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, lines(err)) == (0, "", [])
    assert of(notes, "a") == WHOLE
    assert of(notes, "b") == WHOLE


#: A callback that hangs in its first aggregation.
HANGS = "callback: hangs = 'after_aggregation'"
HANGS_LINE = "damon: context 'a' doesn't stop: callback 'note' has been in after_aggregation for "


@pytest.mark.slow
def test_a_hook_that_hangs_is_left_alone_in_time(
    notes: Path, config: Callable[..., Path], start: Callable[..., subprocess.Popen[str]]
) -> None:
    """Its part and hook are the last line, and the exit code says that something failed."""
    process = start("run", config(a=HANGS, stop_timeout="100ms"))
    wait_for(notes, "a hangs")
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.splitlines()[-1].startswith(HANGS_LINE)


@pytest.mark.slow
def test_others_end_in_order_beside_a_hook_that_hangs(
    notes: Path, config: Callable[..., Path], start: Callable[..., subprocess.Popen[str]]
) -> None:
    """Their files are complete, and what they took is given back."""
    process = start("run", config(a=HANGS, b="", stop_timeout="100ms"))
    wait_for(notes, "a hangs")
    wait_for(notes, "b aggregation")
    process.terminate()
    process.communicate(timeout=60)
    assert of(notes, "b") == WHOLE


@pytest.mark.slow
def test_a_second_signal_ends_the_waiting(
    notes: Path, config: Callable[..., Path], start: Callable[..., subprocess.Popen[str]]
) -> None:
    """Who has no patience gets the same line."""
    process = start("run", config(a=HANGS, b="", stop_timeout="1d"))
    wait_for(notes, "a hangs")
    process.terminate()
    wait_for(notes, "b cleanup")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.splitlines()[-1].startswith(HANGS_LINE)


@pytest.mark.slow
def test_a_release_that_hangs_ends_with_a_signal(
    notes: Path, config: Callable[..., Path], start: Callable[..., subprocess.Popen[str]]
) -> None:
    """Closing is no place to hang in either."""
    process = start("run", config(a="checks = 20\ncallback: hangs = 'release'"))
    wait_for(notes, "- hangs")
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert lines(err)[0].startswith(
        "damon: context 'a' can't be closed: callback 'note' has been in release for "
    )


@pytest.mark.slow
def test_a_release_that_hangs_is_left_alone_in_time(config: Callable[..., Path]) -> None:
    """As long as any hook may take once a context is to stop."""
    contexts = config(a="checks = 20\ncallback: hangs = 'release'", stop_timeout="100ms")
    result = run("run", contexts)
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert last.startswith("damon: context 'a' can't be closed: callback 'note' has been")


def test_a_release_that_fails_is_a_failure(config: Callable[..., Path]) -> None:
    """A port or a file may still be taken."""
    result = run("run", config(a="checks = 20\nraises = 'other'\nhook = 'release'"))
    assert result.returncode == 1
    assert result.stderr.endswith(
        "damon: context 'a' can't be closed: primitive 'memory' failed in release: "
        "RuntimeError: no memory\n"
    )


def test_a_callback_that_asks_to_stop_is_named(config: Callable[..., Path]) -> None:
    """The end of a service's monitoring doesn't come without a word."""
    result = run("run", config(a="callback: stops = true"))
    assert result.returncode == 0
    assert lines(result.stderr) == [
        "damon: INFO: context 'a' stops: callback 'note' asks for it in after_aggregation"
    ]


def test_the_time_is_over(notes: Path, config: Callable[..., Path]) -> None:
    """`--for` ends all in order."""
    result = run("run", config(a=""), "--for", "500ms")
    assert (result.returncode, result.stdout, lines(result.stderr)) == (0, "", [])
    assert of(notes, "a") == WHOLE


def test_all_targets_end(notes: Path, config: Callable[..., Path]) -> None:
    """When the last target has ended, so does the command, by itself."""
    result = run("run", config(a="checks = 20", b="checks = 40"))
    assert (result.returncode, lines(result.stderr)) == (0, [])
    assert of(notes, "a") == of(notes, "b") == WHOLE


FAILED_IN_INIT = "context 'a' failed: primitive 'memory' failed in init"


@pytest.mark.parametrize(
    ("raises", "code", "line"),
    [
        ("input", 2, "damon: no memory\n"),
        ("other", 1, f"{FAILED_IN_INIT}: RuntimeError: no memory (damon --verbose shows where)\n"),
        ("exit", 1, f"{FAILED_IN_INIT}: SystemExit: no memory (damon --verbose shows where)\n"),
    ],
)
def test_exit_codes_of_a_primitive_that_fails(
    raises: str, code: int, line: str, notes: Path, config: Callable[..., Path]
) -> None:
    """2 where the user can mend it, 1 where not, and one line."""
    result = run("run", config(a=f"raises = '{raises}'"))
    assert result.returncode == code
    assert result.stderr.endswith(line)
    assert len(lines(result.stderr)) == 1
    assert of(notes, "a") == ["init", *END]


@pytest.mark.slow
def test_others_go_on(notes: Path, config: Callable[..., Path]) -> None:
    """A context that fails is reported within a second, and the others run to their end."""
    result = run("run", config(a="raises = 'input'", b="checks = 2_500"))
    assert result.returncode == 2
    assert "context 'a' failed: no memory; others go on" in result.stderr
    assert of(notes, "b") == WHOLE


@pytest.mark.slow
def test_no_failure_is_hidden_by_another(notes: Path, config: Callable[..., Path]) -> None:
    """The second that fails is reported as well, even at the very end."""
    contexts = config(a="raises = 'input'", b="raises = 'other'\nhook = 'cleanup'\nchecks = 500")
    result = run("run", contexts)
    assert result.returncode == 2
    failed = "context 'b' failed: primitive 'memory' failed in cleanup: RuntimeError: no memory"
    assert failed in result.stderr
    assert result.stderr.endswith("damon: no memory\n")


@pytest.mark.slow
def test_what_stretches_intervals_is_said(tmp_path: Path) -> None:
    """A budget that allows far fewer checks than configured is worth a line."""
    path = tmp_path / "damon.toml"
    path.write_text(
        '[[context]]\nname = "a"\ncpu_budget = 0.0001\n'
        'sampling_interval = "1ms"\naggregation_interval = "5ms"\n'
        f'[context.primitive]\nuse = "t-memory"\npath = "{tmp_path / "notes"}"\n'
    )
    result = run("run", path, "--for", "2s")
    assert result.returncode == 0
    (line, *_) = lines(result.stderr)
    assert line.startswith("damon: WARNING: context 'a': one aggregation every ")
    assert line.endswith(" at 0.01 % of a processor; a higher cpu_budget makes it shorter")


def test_verbose_tells_where(config: Callable[..., Path]) -> None:
    """Who asks for it gets the traceback of a failure."""
    result = subprocess.run(
        [DAMON, "--verbose", "run", config(a="raises = 'other'")],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 1
    assert "t_run.py" in result.stderr


def test_wrong_configuration(tmp_path: Path, notes: Path) -> None:
    """Nothing begins, all mistakes are reported, each in a line that begins with the program."""
    path = tmp_path / "wrong.toml"
    path.write_text("[[context]]\nnam = 'x'\n[context.primitive]\nuse = 't-memory'\n")
    result = run("run", path)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        f"damon: {path}: context[0].nam: unknown key; did you mean 'name'?",
        f"damon: {path}: context[0].primitive.path: is missing",
    ]
    assert not notes.exists()


@pytest.mark.slow
def test_a_reader_that_goes_away(tmp_path: Path) -> None:
    """Output into a closed pipe is no traceback."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        result = subprocess.run(
            [DAMON, "plugins"],
            check=False,
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert result.returncode == 1
    assert "Traceback" not in result.stderr


def test_a_callback_that_works_again_is_a_failure_all_the_same(config: Callable[..., Path]) -> None:
    """What it was to do at that time is missing, which nobody would notice otherwise."""
    result = run("run", config(a="checks = 50\ncallback: fails_once = true"))
    assert result.returncode == 1
    assert result.stderr.endswith(
        "damon: the output of callback 'note' of context 'a' isn't complete: it failed once; "
        "the last time: OSError: no room\n"
    )


@pytest.mark.slow
def test_output_that_is_lost_is_a_failure(tmp_path: Path) -> None:
    """The last line says of which callback, and why."""
    there = tmp_path / "there"
    there.mkdir()
    (tmp_path / "a.toml").write_text(
        f"""
        [[context]]
        cpu_budget = 1.0
        [context.primitive]
        use = "sim"
        size = "1GiB"
        uniform = {{ rate = 0.5 }}
        [[context.callback]]
        use = "csv"
        path = "{there}/out.csv"
        rotate_size = "1B"
        """
    )
    command = [str(DAMON), "run", str(tmp_path / "a.toml"), "--for", "3s"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as program:
        assert eventually((there / "out.csv").exists)
        there.rename(tmp_path / "elsewhere")
        assert program.stderr is not None
        last = program.stderr.read().splitlines()[-1]
    assert program.returncode == 1
    assert last.startswith("damon: the output of callback 'csv' of context")
    assert last.endswith("No such file or directory")


@pytest.mark.parametrize(
    ("one", "other", "mistakes"),
    [("parquet", "parquet", 1), ("parquet", "csv", 1), ("csv", "csv", 0)],
)
def test_a_path_that_two_write_is_found_by_check(
    tmp_path: Path, one: str, other: str, mistakes: int
) -> None:
    """However it is written; those that share files are asked by nobody."""
    path = tmp_path / "out"
    contexts = [
        f"""
        [[context]]
        name = "{name}"
        [context.primitive]
        use = "sim"
        size = "1GiB"
        uniform = {{ rate = 0.5 }}
        [[context.callback]]
        use = "{use}"
        path = "{where}"
        """
        for name, use, where in (("a", one, path), ("b", other, tmp_path / "x" / ".." / "out"))
    ]
    (tmp_path / "a.toml").write_text("".join(contexts))
    command = [str(DAMON), "check", str(tmp_path / "a.toml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = done.stderr.count("is written by context[0].callback[0] already")
    assert (found, done.returncode) == (mistakes, 2 if mistakes else 0)
