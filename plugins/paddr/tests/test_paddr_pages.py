"""What single pages tell: how much of a region can be watched, and whose it is."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psutil
import pytest
from damon_paddr.cgroups import UNKNOWN, CgroupNames, find_memory_cgroup, memory_hierarchy
from damon_paddr.pages import MOST_AT_ONCE, WINDOW, Charges, PageWindow, _stands_for
from hypothesis import given
from hypothesis import strategies as st

from damon_core import PAGE_SIZE_BYTES, Owner, Regions, Samples, Target, TargetError

IntColumn = npt.NDArray[np.int64]
PAGES = 4096
MIB = 1 << 20
TAIL = 1 << 16


class Frames:
    """16 MiB of memory as the files of /proc tell of it.

    Attributes:
        inode: The memory cgroup of each page frame.
        flags: The flags of each page frame.
        known: Which pages can be told of.
        accessed: Which pages are accessed in every check.
    """

    def __init__(self, directory: Path) -> None:
        self.inode = np.zeros(PAGES, dtype=np.uint64)
        self.flags = np.zeros(PAGES, dtype=np.uint64)
        self.known = np.ones(PAGES, dtype=np.bool_)
        self.accessed = np.zeros(PAGES, dtype=np.bool_)
        self.directory = directory
        self._rng = np.random.default_rng(1)

    def charges(self) -> Charges:
        self.inode.tofile(self.directory / "kpagecgroup")
        self.flags.tofile(self.directory / "kpageflags")
        return Charges(str(self.directory / "kpagecgroup"), str(self.directory / "kpageflags"))

    def check(self, target: Target, pages_a_region: int) -> None:
        """Look at random pages of each region."""
        drawn = [target.regions.random_pages(self._rng) for _ in range(pages_a_region)]
        samples = Samples(np.sort(np.concatenate(drawn)))
        frame = samples.addresses // PAGE_SIZE_BYTES
        samples.known[:] = self.known[frame]
        samples.accessed[:] = self.accessed[frame]
        target.samples = samples

    def described(self, target: Target, window: PageWindow, names: CgroupNames) -> Target:
        """Fill the window and describe the target."""
        for number in range(1, 41):
            self.check(target, 200)
            window.remember([target], number * 1_000_000)
        window.describe([target], 10, 50_000_000, names)
        return target


@pytest.fixture
def frames(tmp_path: Path) -> Frames:
    """Return memory that is all nobody's and idle."""
    return Frames(tmp_path)


@pytest.fixture
def hierarchy(tmp_path: Path) -> Path:
    """Return what looks like a mounted cgroup hierarchy, with two services."""
    for name in ("a.service", "b.service"):
        (tmp_path / "cgroup" / name).mkdir(parents=True)
    return tmp_path / "cgroup"


@pytest.fixture
def names(hierarchy: Path) -> CgroupNames:
    """Return the names of its cgroups."""
    return CgroupNames(hierarchy)


@pytest.fixture
def inodes(hierarchy: Path) -> tuple[int, int]:
    """Return the inode numbers of its services."""
    return os.stat(hierarchy / "a.service").st_ino, os.stat(hierarchy / "b.service").st_ino


@pytest.fixture
def charges(frames: Frames, inodes: tuple[int, int]) -> Iterator[Charges]:
    """Return charges: the first 4 MiB are a's, the next 4 MiB b's, the rest nobody's."""
    frames.inode[:1024], frames.inode[1024:2048] = inodes
    made = frames.charges()
    yield made
    made.close()


def halves(nr_accesses: tuple[float, float]) -> Target:
    """Return a target of two regions of 8 MiB with given accesses."""
    target = Target("node0", Regions([0, 8 * MIB], [8 * MIB, 16 * MIB]))
    target.regions.nr_accesses[:] = nr_accesses
    return target


def by_name(target: Target) -> dict[str, Owner]:
    """Return the owners of a target by name."""
    return {owner.name: owner for owner in target.owners}


class TestCharges:
    def test_of_each_page(self, charges: Charges, inodes: tuple[int, int]) -> None:
        """The number of a page's frame is read; behind the last frame there is none."""
        pages = np.array([0, 1023, 1024, 2047, 2048, 9 * PAGES])
        a, b = inodes
        assert charges.of(pages * PAGE_SIZE_BYTES).tolist() == [a, a, b, b, 0, 0]

    def test_huge_page(self, frames: Frames) -> None:
        """Of a huge page whose head alone has an owner, all pages have it."""
        frames.inode[1024] = 7
        frames.flags[1025:1536] = TAIL
        charges = frames.charges()
        pages = np.array([1023, 1024, 1025, 1535, 1536])
        assert charges.of(pages * PAGE_SIZE_BYTES).tolist() == [0, 7, 7, 7, 0]
        charges.close()

    def test_missing_file(self, tmp_path: Path) -> None:
        """A kernel without the file is told."""
        with pytest.raises(FileNotFoundError):
            Charges(str(tmp_path / "none"))

    @pytest.mark.needs("root")
    def test_this_kernel(self) -> None:
        """The files of this kernel can be read for any address."""
        charges = Charges()
        assert len(charges.of(np.array([0, 1 << 20, 1 << 50]))) == 3
        charges.close()


@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=30),
    st.lists(st.integers(1, 40), max_size=6, unique=True),
)
def test_pages_stand_for_all_of_their_regions(pages: list[int], cuts: list[int]) -> None:
    """However pages lie, twice or at borders, they share the bytes of their regions."""
    borders = np.array(sorted({0, *cuts, 41})) * PAGE_SIZE_BYTES
    borders[1:-1] -= 1  # no policy has to cut at pages
    regions = Regions(borders[:-1], borders[1:])
    address = np.sort(np.array(pages)) * PAGE_SIZE_BYTES
    index = regions.holding(address)
    bytes_of_each = _stands_for(regions, index, address)
    assert (bytes_of_each >= 0).all()
    for region in np.unique(index):
        assert bytes_of_each[index == region].sum() == regions.size_bytes[region]


class TestResidentBytes:
    def test_share_of_known_pages(self, frames: Frames, names: CgroupNames) -> None:
        """What can't be watched doesn't count, in each region as far as its pages show."""
        frames.known[:1024] = False
        target = frames.described(halves((0, 0)), PageWindow(), names)
        low, high = (target.regions.resident_bytes / MIB).tolist()
        assert low == pytest.approx(4, rel=0.1)
        assert high == pytest.approx(8, rel=0.01)

    def test_region_without_pages(self, frames: Frames, names: CgroupNames) -> None:
        """A region that no page of is remembered is taken for like the others."""
        frames.known[::2] = False
        window = PageWindow()
        target = frames.described(Target("node0", Regions([0], [8 * MIB])), window, names)
        target.regions = Regions([0, 8 * MIB], [8 * MIB, 16 * MIB])
        window.describe([target], 10, 50_000_000, names)
        assert target.regions.resident_bytes[1] / MIB == pytest.approx(4, rel=0.1)

    def test_nothing_seen_yet(self, frames: Frames, names: CgroupNames) -> None:
        """Before the first page, a region's size is all that is known."""
        target = halves((0, 0))
        PageWindow().describe([target], 10, 50_000_000, names)
        assert target.regions.resident_bytes.tolist() == [8 * MIB, 8 * MIB]
        assert list(target.owners) == []


class TestOwners:
    def test_total_bytes(self, frames: Frames, charges: Charges, names: CgroupNames) -> None:
        """Each owner has what its pages show; nobody's memory is left out."""
        target = frames.described(halves((0, 0)), PageWindow(charges), names)
        owners = by_name(target)
        assert set(owners) == {"/a.service", "/b.service"}
        assert {owner.kind for owner in owners.values()} == {"cgroup"}
        for owner in owners.values():
            assert owner.total_bytes / MIB == pytest.approx(4, rel=0.1)
            assert owner.working_set_bytes == owner.accessed_bytes == 0

    def test_uneven_samples(self, frames: Frames, charges: Charges, names: CgroupNames) -> None:
        """A region that is looked at more often than others weighs no more."""
        target = Target("node0", Regions([0, 4 * MIB], [4 * MIB, 16 * MIB]))
        frames.known[2048:] = False
        window = PageWindow(charges)
        for number in range(1, 41):
            frames.check(target, 100)  # as many of a third of the size
            window.remember([target], number * 1_000_000)
        window.describe([target], 10, 50_000_000, names)
        shares = {name: owner.total_bytes / MIB for name, owner in by_name(target).items()}
        assert shares == pytest.approx({"/a.service": 4, "/b.service": 4}, rel=0.15)

    def test_region_of_one_owner(
        self, frames: Frames, charges: Charges, names: CgroupNames
    ) -> None:
        """The owner has all accesses of a region of its own, seen or not."""
        target = Target("node0", Regions([0, 4 * MIB], [4 * MIB, 16 * MIB]))
        target.regions.nr_accesses[:] = (5, 0)
        owner = by_name(frames.described(target, PageWindow(charges), names))["/a.service"]
        assert owner.working_set_bytes / MIB == pytest.approx(4, rel=0.02)
        assert owner.accessed_bytes / MIB == pytest.approx(2, rel=0.02)

    def test_region_of_several_owners(
        self, frames: Frames, charges: Charges, names: CgroupNames
    ) -> None:
        """Accesses in a mixed region go to the owner whose pages were seen accessed."""
        frames.accessed[:1024] = True
        target = frames.described(halves((5, 0)), PageWindow(charges), names)
        a, b = target.owners
        assert (a.name, b.name) == ("/a.service", "/b.service")
        assert a.working_set_bytes / MIB == pytest.approx(4, rel=0.1)
        assert a.accessed_bytes / MIB == pytest.approx(4, rel=0.1)
        assert (b.working_set_bytes, b.accessed_bytes) == (0, 0)

    def test_working_set_holds_what_was_accessed(
        self, frames: Frames, charges: Charges, names: CgroupNames
    ) -> None:
        """Half an access of a region is half of its bytes, all of the owner's who was seen."""
        frames.accessed[:1024] = True
        window = PageWindow(charges)
        target = frames.described(halves((0.5, 0)), window, names)
        window.describe([target], 1, 60_000_000, names)
        a, b = target.owners
        assert a.accessed_bytes / MIB == pytest.approx(4, rel=0.1)
        assert a.working_set_bytes == a.accessed_bytes
        assert (b.working_set_bytes, b.accessed_bytes) == (0, 0)

    def test_unknown_pages_have_no_owner(
        self, frames: Frames, charges: Charges, names: CgroupNames
    ) -> None:
        """Pages that can't be told of count for nobody."""
        frames.known[:1024] = False
        target = frames.described(halves((0, 0)), PageWindow(charges), names)
        assert set(by_name(target)) == {"/b.service"}

    def test_owners_that_nobody_knows_are_one(self, frames: Frames, names: CgroupNames) -> None:
        """Cgroups that can't be seen from here are added up under one name."""
        frames.inode[:1024], frames.inode[1024:2048] = 1 << 50, 1 << 51
        charges = frames.charges()
        (owner,) = frames.described(halves((0, 0)), PageWindow(charges), names).owners
        charges.close()
        assert owner.name == UNKNOWN
        assert owner.total_bytes / MIB == pytest.approx(8, rel=0.1)

    def test_told_once_a_second(self, frames: Frames, charges: Charges, names: CgroupNames) -> None:
        """In between the last ones stay, as they cost more than all else."""
        window = PageWindow(charges)
        target = frames.described(halves((0, 0)), window, names)
        before = target.owners
        window.describe([target], 10, 50_900_000, names)
        assert target.owners is before
        window.describe([target], 10, 51_000_000, names)
        assert target.owners is not before


class TestWindow:
    def test_old_pages_are_forgotten(self, frames: Frames, names: CgroupNames) -> None:
        """What changes is seen as soon as the window is full again."""
        window = PageWindow()
        target = frames.described(halves((0, 0)), window, names)
        frames.known[:] = False
        for number in range(100, 100 + WINDOW // 400 + 1):
            frames.check(target, 200)
            window.remember([target], number * 1_000_000)
        window.describe([target], 10, 50_000_000, names)
        assert target.regions.resident_bytes.tolist() == [0, 0]

    def test_a_page_a_millisecond(self, frames: Frames, charges: Charges) -> None:
        """However often and much is checked, the cost is bounded."""
        looked_at = []

        class Counting(Charges):
            def of(self, addresses: IntColumn) -> IntColumn:
                looked_at.append(len(addresses))
                return super().of(addresses)

        frames.charges()
        window = PageWindow(charges)
        window.charges = Counting(
            *(str(frames.directory / name) for name in ("kpagecgroup", "kpageflags"))
        )
        target = halves((0, 0))
        for now_us in range(5_000, 1_000_001, 5_000):
            frames.check(target, 300)
            window.remember([target], now_us)
        assert 900 <= sum(looked_at) <= 1_000
        frames.check(target, 300)
        window.remember([target], 60_000_000)
        assert looked_at[-1] == MOST_AT_ONCE
        window.charges.close()


class TestNames:
    def test_paths_below_the_mount(
        self, hierarchy: Path, names: CgroupNames, inodes: tuple[int, int]
    ) -> None:
        """A cgroup's name is its path, and the root's a slash."""
        assert names[inodes[0]] == "/a.service"
        assert names[os.stat(hierarchy).st_ino] == "/"

    def test_new_cgroup(self, hierarchy: Path, names: CgroupNames) -> None:
        """One that came later is found after a refresh, when nothing was walked for long."""
        assert names[1 << 60] == UNKNOWN
        (hierarchy / "new").mkdir()
        inode = os.stat(hierarchy / "new").st_ino
        assert names[inode] == UNKNOWN
        names._not_before = 0.0  # noqa: SLF001  # as if time had passed
        names.refresh()
        assert names[inode] == "/new"

    def test_name_that_is_no_text(self, hierarchy: Path, names: CgroupNames) -> None:
        """Bytes that aren't UTF-8 become a sign for that, so that anybody can write the name."""
        path = os.fsencode(hierarchy) + b"/\xff"
        os.mkdir(path)
        assert names[os.stat(path).st_ino] == "/\ufffd"

    def test_nothing_mounted(self) -> None:
        """Without a hierarchy no name is known."""
        assert CgroupNames(None)[1] == UNKNOWN


@pytest.mark.parametrize(
    ("mounted", "found"),
    [
        ("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0", "/sys/fs/cgroup"),
        (
            "none /sys/fs/cgroup/unified cgroup2 rw 0 0\n"
            "none /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n"
            "none /sys/fs/cgroup/memory cgroup rw,memory 0 0",
            "/sys/fs/cgroup/memory",
        ),
        ("none /my\\040cgroups cgroup2 rw,nsdelegate 0 0", "/my cgroups"),
        ("proc /proc proc rw 0 0", None),
    ],
)
def test_memory_hierarchy(
    mounted: str, found: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hierarchy that has the memory controller is found: version 1 if it has it."""
    (tmp_path / "self").mkdir()
    (tmp_path / "self/mounts").write_text(mounted + "\n")
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    assert memory_hierarchy() == (None if found is None else Path(found))


@pytest.mark.parametrize("written", ["a.slice/b", "/a.slice/b", "{mount}/a.slice/b"])
def test_a_memory_cgroup_is_found(written: str, tmp_path: Path) -> None:
    """By its directory or its path in the hierarchy."""
    place = tmp_path / "a.slice/b"
    place.mkdir(parents=True)
    (place / "cgroup.procs").touch()
    found = find_memory_cgroup(written.format(mount=tmp_path), tmp_path)
    assert found == ("/a.slice/b", place)


@pytest.mark.parametrize("written", ["c", "a.slice", "a.slice/../a.slice/b"])
def test_what_is_no_memory_cgroup(written: str, tmp_path: Path) -> None:
    """A directory that isn't one is none; dots aren't followed."""
    (tmp_path / "a.slice/b").mkdir(parents=True)
    (tmp_path / "a.slice/b/cgroup.procs").touch()
    with pytest.raises(TargetError, match=f"memory cgroup '{written}': there is no such cgroup"):
        find_memory_cgroup(written, tmp_path)
