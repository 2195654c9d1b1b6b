"""The primitive, on machines made of files, with a backend that knows all accesses."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from damon_paddr import PaddrOptions, PhysicalMemory, make_paddr
from damon_paddr.cgroups import memory_hierarchy
from damon_paddr.ranges import difference, merged

from damon_core import (
    PAGE_SIZE_BYTES,
    Backend,
    ConfigError,
    Context,
    Finding,
    HookContext,
    Intervals,
    PageSampling,
    PluginError,
    Plugins,
    Range,
    RegionLimits,
    Snapshot,
    Target,
    TargetError,
    VirtualClock,
    check_config,
)
from damon_core.testing import Recorder, StopAfter, run, run_virtual

#: The fixture `make_machine` of conftest.py.
MakeMachine = Callable[..., Any]
MIB = 1 << 20
TWO_GIB = "00001000-3fffffff : System RAM\n100000000-13fffffff : System RAM\n"
HOT = Range(0x110000000, 0x114000000)


class Truth:
    """A backend that knows some ranges, one of which is hot.

    Attributes:
        known: The known ranges.
        hot: The hot range.
        unknown_checks: Number of checked pages outside of the known ranges.
        prepared: Names of the targets of the last `prepare`.
        closed: Number of calls of `close`.
    """

    sampling = PageSampling

    def __init__(self, known: Sequence[Range], hot: Range = HOT) -> None:
        self.known = list(known)
        self.hot = hot
        self.unknown_checks = 0
        self.prepared: list[str] = []
        self.closed = 0

    def prepare(self, targets: Sequence[Target], _context: HookContext) -> None:
        self.prepared = [target.name for target in targets]

    def check(self, targets: Sequence[Target], _context: HookContext) -> None:
        assert self.prepared == [target.name for target in targets]
        for target in targets:
            assert target.samples is not None
            for row, address in enumerate(target.samples.addresses.tolist()):
                known = any(start <= address < end for start, end in self.known)
                self.unknown_checks += not known
                target.samples.known[row] = known
                target.samples.accessed[row] = self.hot.start <= address < self.hot.end

    def close(self) -> None:
        self.closed += 1


def monitor(
    machine: Any,
    backend: Truth,
    aggregations: int = 30,
    at: Mapping[int, Callable[[], object]] | None = None,
    **options: object,
) -> list[Snapshot]:
    """Monitor a machine in virtual time; return the snapshots.

    Args:
        machine: The machine.
        backend: The backend.
        aggregations: The number of aggregations.
        at: Functions to call after aggregations, by the number of the aggregation.
        options: Arguments of `Machine.memory`, and the context's `limits`.
    """

    def act(context: Context) -> None:
        assert context.snapshot is not None
        if at is not None and context.snapshot.number in at:
            at[context.snapshot.number]()

    recorder = Recorder(after_aggregation=act)
    limits = options.pop("limits", RegionLimits())
    run_virtual(
        PhysicalMemory(machine.memory(**options), backend),
        recorder,
        aggregations=aggregations,
        intervals=Intervals(5_000, 100_000, 100_000),
        limits=limits,
    )
    return recorder.snapshots


def ranges(snapshot: Snapshot, target: int = 0) -> list[Range]:
    """Return the ranges that the regions of a target cover."""
    table = snapshot.targets[target]
    return merged(map(Range, table.start.tolist(), table.end.tolist()))


def truth_of(machine: Any) -> Truth:
    """Return a backend that knows all memory of a machine."""
    nodes = machine.memory().nodes()
    return Truth(sorted(part for found in nodes.values() for part in found))


class TestTargets:
    def test_one_per_node(self, make_machine: MakeMachine) -> None:
        """Each node with memory is a target that covers exactly its memory."""
        machine = make_machine(TWO_GIB)
        machine.blocks({0: range(8), 2: range(32, 40)})
        backend = truth_of(machine)
        last = monitor(machine, backend)[-1]
        assert [target.name for target in last.targets] == ["node0", "node2"]
        assert ranges(last) == [Range(0x1000, 0x40000000)]
        assert ranges(last, 1) == [Range(0x100000000, 0x140000000)]
        assert backend.unknown_checks == 0

    def test_hot_memory_is_found(self, make_machine: MakeMachine) -> None:
        """The hot 64 MiB of 2 GiB are the working set of their node."""
        machine = make_machine(TWO_GIB)
        machine.blocks({0: range(8), 1: range(32, 40)})
        node0, node1 = monitor(machine, truth_of(machine), 60)[-1].targets
        assert node0.working_set_bytes() == 0
        assert node1.working_set_bytes() / MIB == pytest.approx(64, rel=0.2)
        hottest = node1.hottest(1)[0]
        assert HOT.start - MIB <= hottest.start < hottest.end <= HOT.end + MIB

    def test_only_known_memory_counts(self, make_machine: MakeMachine) -> None:
        """Unknown memory isn't part of the bytes monitored."""
        machine = make_machine(TWO_GIB)
        backend = Truth([Range(0x100000000, 0x140000000)])
        last = monitor(machine, backend, 60)[-1]
        assert backend.unknown_checks > 0
        assert last.total_bytes / MIB == pytest.approx(1024, rel=0.1)
        assert last.working_set_bytes() / MIB == pytest.approx(64, rel=0.2)

    def test_limits_are_shared(self, make_machine: MakeMachine) -> None:
        """All nodes together have at most `max_regions` regions."""
        machine = make_machine(TWO_GIB)
        machine.blocks({0: range(4), 1: range(4, 8), 2: range(32, 36), 3: range(36, 40)})
        limits = RegionLimits(min_regions=10, max_regions=20)
        snapshots = monitor(machine, truth_of(machine), limits=limits)
        assert all(10 <= len(snapshot) <= 20 for snapshot in snapshots)

    def test_more_ranges_than_regions(self, make_machine: MakeMachine) -> None:
        """Ranges with the smallest holes are joined; holes aren't counted."""
        pieces = [(number * 0x1000000, number * 0x1000000 + 0xEFFFFF) for number in range(40)]
        machine = make_machine(
            "".join(f"{start:08x}-{end:08x} : System RAM\n" for start, end in pieces)
        )
        known = [Range(start, end + 1) for start, end in pieces]
        snapshots = monitor(
            machine, Truth(known, Range(0, 0x4000000)), 60, limits=RegionLimits(5, 10)
        )
        assert all(len(snapshot) <= 10 for snapshot in snapshots)
        assert difference(known, ranges(snapshots[-1])) == []
        assert snapshots[-1].total_bytes / MIB == pytest.approx(600, rel=0.05)


class TestHotPlug:
    def test_memory_comes(self, make_machine: MakeMachine) -> None:
        """Regions cover added memory after the next update."""
        machine = make_machine("00000000-3fffffff : System RAM\n")
        backend = Truth([Range(0, 0x140000000)])

        def add() -> None:
            machine.iomem("00000000-3fffffff : System RAM\n100000000-13fffffff : System RAM\n")

        snapshots = monitor(machine, backend, 60, {10: add})
        assert ranges(snapshots[9]) == [Range(0, 0x40000000)]
        assert ranges(snapshots[-1]) == [Range(0, 0x40000000), Range(0x100000000, 0x140000000)]
        assert snapshots[-1].working_set_bytes() / MIB == pytest.approx(64, rel=0.2)

    def test_memory_goes(self, make_machine: MakeMachine) -> None:
        """Regions of removed memory are dropped, the others keep their counters."""
        machine = make_machine(TWO_GIB)
        backend = truth_of(machine)

        def remove() -> None:
            backend.known = [Range(0x100000000, 0x140000000)]
            machine.iomem("100000000-13fffffff : System RAM\n")

        snapshots = monitor(machine, backend, 40, {38: remove})
        assert ranges(snapshots[-1]) == [Range(0x100000000, 0x140000000)]
        before, after = (
            {(view.start, view.end) for view in snapshots[number].hottest(1)} for number in (37, -1)
        )
        assert before == after

    def test_node_comes_and_goes(self, make_machine: MakeMachine) -> None:
        """A node is a target while it has memory."""
        machine = make_machine(TWO_GIB)
        machine.blocks({0: range(8), 1: range(32, 40)})
        both, only = TWO_GIB, TWO_GIB.splitlines(keepends=True)[0]
        snapshots = monitor(
            machine,
            truth_of(machine),
            40,
            {10: lambda: machine.iomem(only), 20: lambda: machine.iomem(both)},
        )
        names = [[target.name for target in snapshot.targets] for snapshot in snapshots]
        assert (names[9], names[18], names[-1]) == (["node0", "node1"], ["node0"], names[9])

    def test_everything_goes(self, make_machine: MakeMachine) -> None:
        """When no memory is left the monitoring ends without an error."""
        machine = make_machine(TWO_GIB)
        backend = truth_of(machine)
        snapshots = monitor(machine, backend, 30, {5: lambda: machine.iomem("")})
        assert len(snapshots) == 5
        assert backend.closed == 1

    def test_unreadable_for_a_moment(self, make_machine: MakeMachine) -> None:
        """A state file that has just been removed is not an error."""
        machine = make_machine(TWO_GIB)
        machine.blocks({0: range(8)})

        def remove_state() -> None:
            (machine.devices / "memory" / "memory3" / "state").unlink()
            machine.total(5)

        assert len(monitor(machine, truth_of(machine), 10, {5: remove_state})) == 10


class TestLife:
    def test_restart(self, make_machine: MakeMachine) -> None:
        """A context can run again."""
        machine = make_machine(TWO_GIB)
        backend = truth_of(machine)
        context = Context(
            PhysicalMemory(machine.memory(), backend), [StopAfter(5)], clock=VirtualClock()
        )
        for _ in range(2):
            run(context)
        assert [target.name for target in context.targets] == ["node0"]
        assert backend.closed == 2

    def test_cleanup_without_init(self, make_machine: MakeMachine) -> None:
        """A context that never ran can be closed, more than once."""
        backend = Truth([])
        context = Context(PhysicalMemory(make_machine(TWO_GIB).memory(), backend))
        context.close()
        context.close()
        assert backend.closed == 4  # in cleanup and release, both times

    def test_no_memory_at_the_start(self, make_machine: MakeMachine) -> None:
        """If the memory is removed before the start, the context has an error."""
        machine = make_machine(TWO_GIB)
        memory = machine.memory([HOT])
        machine.iomem("00001000-3fffffff : System RAM\n")
        context = Context(PhysicalMemory(memory, Truth([])), clock=VirtualClock())
        run(context, check=False)
        assert isinstance(context.error, TargetError)


def checked(options: dict[str, object]) -> PaddrOptions:
    """Return options after the check of a configuration."""
    context = {"primitive": {"use": "paddr", **options}, "callback": []}
    config = check_config({"context": [context]}, Plugins.discover())
    found = config.contexts[0].primitive.options
    assert isinstance(found, PaddrOptions)
    return found


WORKING = {"truth": Backend("truth", lambda _options: Truth([]), serves=("paddr",))}


class TestOptions:
    @pytest.mark.parametrize(
        ("written", "wanted"),
        [
            (["100000000-13fffffff"], [(0x100000000, 0x140000000)]),
            (["0x100000000-0x140000000"], [(0x100000000, 0x140000000)]),
            ([{"start": 4096, "end": 8192}], [(4096, 8192)]),
            (["5000-6000", {"start": 4096, "end": 8191}], [(4096, 8192), (0x5000, 0x6000)]),
        ],
    )
    def test_ranges(self, written: list[object], wanted: list[tuple[int, int]]) -> None:
        """They are written as in /proc/iomem, with the first address after, or as a table."""
        options = checked({"ranges": written})
        assert list(options.wanted) == wanted

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"ranges": ["1000"]}, "must be written 'START-END' in hexadecimal"),
            ({"ranges": ["1000-2001"]}, "must be of whole pages"),
            ({"ranges": ["2000-1000"]}, "must end after its start"),
            ({"ranges": [{"start": 1, "end": 4096}]}, "must be of whole pages"),
            ({"ranges": [{"start": 4096}]}, "ranges[0].end: is missing"),
            ({"ranges": ["1000-3000", "2000-4000"]}, "2000-4000 overlaps another range"),
            ({"ranges": ["1000-2000"], "node": 0}, "at most one of ranges and node"),
            ({"node": -1}, "node: found -1, must be from 0 to 1023"),
        ],
    )
    def test_mistakes(self, options: dict[str, object], message: str) -> None:
        """The error says what is allowed."""
        with pytest.raises(ConfigError) as caught:
            checked(options)
        assert message in str(caught.value)

    def test_no_backend_works(self) -> None:
        """The error says what is missing."""
        broken = Backend(
            "none",
            lambda _options: None,
            serves=("paddr",),
            probe=lambda: (Finding("a thing", False, "get one"),),
        )
        with pytest.raises(PluginError, match=r"no backend works here: none: a thing \(get one\)"):
            make_paddr(PaddrOptions(), {"none": broken})

    @pytest.mark.needs("root")
    def test_made(self) -> None:
        """The primitive is made with all memory or one node of this machine."""
        assert make_paddr(PaddrOptions(), WORKING).name == "paddr"
        assert make_paddr(PaddrOptions(node=0), WORKING).name == "paddr"

    @pytest.mark.needs("root")
    def test_one_cgroup_needs_a_backend_that_can_monitor_it(self) -> None:
        """Other backends are an error before anything runs."""

        class OneCgroup(Truth):
            """A backend that can monitor a single cgroup."""

            def watch_cgroup(self, path: str, directory: Path) -> None:
                self.watched = (path, directory)

        backend = OneCgroup([])
        backends = {"one-cgroup": Backend("one-cgroup", lambda _: backend, serves=("paddr",))}
        mount = memory_hierarchy()
        assert mount is not None
        make_paddr(PaddrOptions(cgroup="/"), backends)
        assert backend.watched == ("/", mount)
        with pytest.raises(PluginError, match="needs a backend that can monitor one cgroup"):
            make_paddr(PaddrOptions(cgroup="/"), WORKING)
        with pytest.raises(TargetError, match="there is no such cgroup below"):
            make_paddr(PaddrOptions(cgroup="no/such.slice"), backends)

    @pytest.mark.needs("root")
    def test_ranges_outside_of_memory(self) -> None:
        """They are an error before anything runs."""
        outside = (1 << 51) // PAGE_SIZE_BYTES * PAGE_SIZE_BYTES
        options = PaddrOptions(ranges=(f"{outside:x}-{outside + PAGE_SIZE_BYTES:x}",))
        with pytest.raises(TargetError, match="isn't all System RAM"):
            make_paddr(options, WORKING)


@pytest.mark.needs("root")
def test_owners_on_this_machine() -> None:
    """If all pages are known, some of this machine's memory has an owner with a name."""

    class Everything(Truth):
        def check(self, targets: Sequence[Target], _context: HookContext) -> None:
            pass

    primitive = make_paddr(
        PaddrOptions(),
        {"all": Backend("all", lambda _options: Everything([]), serves=("paddr",))},
    )
    snapshot = run_virtual(primitive, aggregations=20).snapshot
    assert snapshot is not None
    owners = [owner for target in snapshot.targets for owner in target.owners]
    assert any(owner.name.startswith("/") and owner.total_bytes for owner in owners)
