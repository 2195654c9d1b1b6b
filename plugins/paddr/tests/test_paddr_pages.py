"""Estimates of resident bytes and owners from checked pages."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psutil
import pytest
from damon_paddr.cgroups import UNKNOWN, CgroupNames, find_memory_cgroup, memory_hierarchy
from damon_paddr.pages import MAX_PER_CHECK, WINDOW, Charges, PageWindow, _represented_bytes
from hypothesis import given
from hypothesis import strategies as st

from damon_core import PAGE_SIZE_BYTES, Owner, Regions, Samples, Target, TargetError

IntColumn = npt.NDArray[np.int64]
PAGES = 4096
MIB = 1 << 20
TAIL = 1 << 16


class Frames:
    """16 MiB of memory, with files as in /proc.

    Attributes:
        inode: The memory cgroup of each page frame.
        flags: The flags of each page frame.
        known: Whether the result of each page is known.
        accessed: Whether each page is accessed in every check.
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

    def check(self, target: Target, pages_per_region: int) -> None:
        """Check random pages of each region."""
        drawn = [target.regions.random_pages(self._rng) for _ in range(pages_per_region)]
        samples = Samples(np.sort(np.concatenate(drawn)))
        frame = samples.addresses // PAGE_SIZE_BYTES
        samples.known[:] = self.known[frame]
        samples.accessed[:] = self.accessed[frame]
        target.samples = samples

    def described(self, target: Target, window: PageWindow, names: CgroupNames) -> Target:
        """Fill the window, describe the target, and return it."""
        for number in range(1, 41):
            self.check(target, 200)
            window.remember([target], number * 1_000_000)
        window.describe([target], 10, 50_000_000, names)
        return target


@pytest.fixture
def frames(tmp_path: Path) -> Frames:
    """Return idle memory without owners."""
    return Frames(tmp_path)


@pytest.fixture
def hierarchy(tmp_path: Path) -> Path:
    """Return a directory that looks like a mounted cgroup hierarchy with two services."""
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
    """Return charges: the first 4 MiB belong to a, the next 4 MiB to b; the rest has no owner."""
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
        """They are read by page frame; after the last frame there are none."""
        pages = np.array([0, 1023, 1024, 2047, 2048, 9 * PAGES])
        a, b = inodes
        assert charges.of(pages * PAGE_SIZE_BYTES).tolist() == [a, a, b, b, 0, 0]

    def test_huge_page(self, frames: Frames) -> None:
        """If only the head of a huge page has an owner, all its pages have it."""
        frames.inode[1024] = 7
        frames.flags[1025:1536] = TAIL
        charges = frames.charges()
        pages = np.array([1023, 1024, 1025, 1535, 1536])
        assert charges.of(pages * PAGE_SIZE_BYTES).tolist() == [0, 7, 7, 7, 0]
        charges.close()

    def test_missing_file(self, tmp_path: Path) -> None:
        """A kernel without the file is an error."""
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
def test_pages_represent_all_bytes_of_their_regions(pages: list[int], cuts: list[int]) -> None:
    """Even if pages are repeated, or lie at borders."""
    borders = np.array(sorted({0, *cuts, 41})) * PAGE_SIZE_BYTES
    borders[1:-1] -= 1  # policies may cut inside pages
    regions = Regions(borders[:-1], borders[1:])
    address = np.sort(np.array(pages)) * PAGE_SIZE_BYTES
    index = regions.holding(address)
    bytes_of_each = _represented_bytes(regions, index, address)
    assert (bytes_of_each >= 0).all()
    for region in np.unique(index):
        assert bytes_of_each[index == region].sum() == regions.size_bytes[region]


class TestResidentBytes:
    def test_share_of_known_pages(self, frames: Frames, names: CgroupNames) -> None:
        """Unknown memory doesn't count; each region is estimated from its pages."""
        frames.known[:1024] = False
        target = frames.described(halves((0, 0)), PageWindow(), names)
        low, high = (target.regions.resident_bytes / MIB).tolist()
        assert low == pytest.approx(4, rel=0.1)
        assert high == pytest.approx(8, rel=0.01)

    def test_region_without_pages(self, frames: Frames, names: CgroupNames) -> None:
        """A region without remembered pages has the mean share of the others."""
        frames.known[::2] = False
        window = PageWindow()
        target = frames.described(Target("node0", Regions([0], [8 * MIB])), window, names)
        target.regions = Regions([0, 8 * MIB], [8 * MIB, 16 * MIB])
        window.describe([target], 10, 50_000_000, names)
        assert target.regions.resident_bytes[1] / MIB == pytest.approx(4, rel=0.1)

    def test_before_the_first_check(self, frames: Frames, names: CgroupNames) -> None:
        """The resident bytes of a region are its size."""
        target = halves((0, 0))
        PageWindow().describe([target], 10, 50_000_000, names)
        assert target.regions.resident_bytes.tolist() == [8 * MIB, 8 * MIB]
        assert list(target.owners) == []


class TestOwners:
    def test_total_bytes(self, frames: Frames, charges: Charges, names: CgroupNames) -> None:
        """They are estimated from each owner's pages; memory without an owner is left out."""
        target = frames.described(halves((0, 0)), PageWindow(charges), names)
        owners = by_name(target)
        assert set(owners) == {"/a.service", "/b.service"}
        assert {owner.kind for owner in owners.values()} == {"cgroup"}
        for owner in owners.values():
            assert owner.total_bytes / MIB == pytest.approx(4, rel=0.1)
            assert owner.working_set_bytes == owner.accessed_bytes == 0

    def test_uneven_samples(self, frames: Frames, charges: Charges, names: CgroupNames) -> None:
        """A region that is checked more often than others has no greater weight."""
        target = Target("node0", Regions([0, 4 * MIB], [4 * MIB, 16 * MIB]))
        frames.known[2048:] = False
        window = PageWindow(charges)
        for number in range(1, 41):
            frames.check(target, 100)  # of each region, though one has a third of the other's size
            window.remember([target], number * 1_000_000)
        window.describe([target], 10, 50_000_000, names)
        shares = {name: owner.total_bytes / MIB for name, owner in by_name(target).items()}
        assert shares == pytest.approx({"/a.service": 4, "/b.service": 4}, rel=0.15)

    def test_region_of_one_owner(
        self, frames: Frames, charges: Charges, names: CgroupNames
    ) -> None:
        """A region's only owner has all its accesses, whatever its remembered pages show."""
        target = Target("node0", Regions([0, 4 * MIB], [4 * MIB, 16 * MIB]))
        target.regions.nr_accesses[:] = (5, 0)
        owner = by_name(frames.described(target, PageWindow(charges), names))["/a.service"]
        assert owner.working_set_bytes / MIB == pytest.approx(4, rel=0.02)
        assert owner.accessed_bytes / MIB == pytest.approx(2, rel=0.02)

    def test_region_of_several_owners(
        self, frames: Frames, charges: Charges, names: CgroupNames
    ) -> None:
        """Accesses of a shared region belong to the owner whose pages were accessed."""
        frames.accessed[:1024] = True
        target = frames.described(halves((5, 0)), PageWindow(charges), names)
        a, b = target.owners
        assert (a.name, b.name) == ("/a.service", "/b.service")
        assert a.working_set_bytes / MIB == pytest.approx(4, rel=0.1)
        assert a.accessed_bytes / MIB == pytest.approx(4, rel=0.1)
        assert (b.working_set_bytes, b.accessed_bytes) == (0, 0)

    def test_working_set_of_a_fraction_of_an_access(
        self, frames: Frames, charges: Charges, names: CgroupNames
    ) -> None:
        """Half an access counts as half of the region, for the owner whose pages were accessed."""
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
        """Pages without a known result count for no owner."""
        frames.known[:1024] = False
        target = frames.described(halves((0, 0)), PageWindow(charges), names)
        assert set(by_name(target)) == {"/b.service"}

    def test_unknown_owners_are_one(self, frames: Frames, names: CgroupNames) -> None:
        """Cgroups that can't be seen from here are summed up under one name."""
        frames.inode[:1024], frames.inode[1024:2048] = 1 << 50, 1 << 51
        charges = frames.charges()
        (owner,) = frames.described(halves((0, 0)), PageWindow(charges), names).owners
        charges.close()
        assert owner.name == UNKNOWN
        assert owner.total_bytes / MIB == pytest.approx(8, rel=0.1)

    def test_owners_are_estimated_once_a_second(
        self, frames: Frames, charges: Charges, names: CgroupNames
    ) -> None:
        """In between, the last ones stay."""
        window = PageWindow(charges)
        target = frames.described(halves((0, 0)), window, names)
        before = target.owners
        window.describe([target], 10, 50_900_000, names)
        assert target.owners is before
        window.describe([target], 10, 51_000_000, names)
        assert target.owners is not before


class TestWindow:
    def test_old_pages_are_forgotten(self, frames: Frames, names: CgroupNames) -> None:
        """A change shows in full once the window has only newer pages."""
        window = PageWindow()
        target = frames.described(halves((0, 0)), window, names)
        frames.known[:] = False
        for number in range(100, 100 + WINDOW // 400 + 1):
            frames.check(target, 200)
            window.remember([target], number * 1_000_000)
        window.describe([target], 10, 50_000_000, names)
        assert target.regions.resident_bytes.tolist() == [0, 0]

    def test_one_page_per_millisecond(self, frames: Frames, charges: Charges) -> None:
        """The number of remembered pages is bounded, however many are checked."""
        remembered = []

        class Counting(Charges):
            def of(self, addresses: IntColumn) -> IntColumn:
                remembered.append(len(addresses))
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
        assert 900 <= sum(remembered) <= 1_000
        frames.check(target, 300)
        window.remember([target], 60_000_000)
        assert remembered[-1] == MAX_PER_CHECK
        window.charges.close()


class TestNames:
    def test_paths_below_the_mount(
        self, hierarchy: Path, names: CgroupNames, inodes: tuple[int, int]
    ) -> None:
        """The name of a cgroup is its path, that of the root a slash."""
        assert names[inodes[0]] == "/a.service"
        assert names[os.stat(hierarchy).st_ino] == "/"

    def test_new_cgroup(self, hierarchy: Path, names: CgroupNames) -> None:
        """A new cgroup is found after a refresh, if the last walk was long enough ago."""
        assert names[1 << 60] == UNKNOWN
        (hierarchy / "new").mkdir()
        inode = os.stat(hierarchy / "new").st_ino
        assert names[inode] == UNKNOWN
        names._not_before = 0.0  # noqa: SLF001  # as if time had passed
        names.refresh()
        assert names[inode] == "/new"

    def test_name_that_is_not_utf_8(self, hierarchy: Path, names: CgroupNames) -> None:
        """Other bytes become replacement characters, so that the name can be written as text."""
        path = os.fsencode(hierarchy) + b"/\xff"
        os.mkdir(path)
        assert names[os.stat(path).st_ino] == "/\ufffd"

    def test_nothing_mounted(self) -> None:
        """Without a hierarchy all names are unknown."""
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
    """The hierarchy with the memory controller is found, that of version 1 first."""
    (tmp_path / "self").mkdir()
    (tmp_path / "self/mounts").write_text(mounted + "\n")
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    assert memory_hierarchy() == (None if found is None else Path(found))


@pytest.mark.parametrize("written", ["a.slice/b", "/a.slice/b", "{mount}/a.slice/b"])
def test_a_memory_cgroup_is_found(written: str, tmp_path: Path) -> None:
    """By its directory or its path in the hierarchy."""
    directory = tmp_path / "a.slice/b"
    directory.mkdir(parents=True)
    (directory / "cgroup.procs").touch()
    found = find_memory_cgroup(written.format(mount=tmp_path), tmp_path)
    assert found == ("/a.slice/b", directory)


@pytest.mark.parametrize("written", ["c", "a.slice", "a.slice/../a.slice/b"])
def test_what_is_not_a_memory_cgroup(written: str, tmp_path: Path) -> None:
    """Missing and ordinary directories, and paths with dots, are errors."""
    (tmp_path / "a.slice/b").mkdir(parents=True)
    (tmp_path / "a.slice/b/cgroup.procs").touch()
    with pytest.raises(TargetError, match=f"memory cgroup '{written}': there is no such cgroup"):
        find_memory_cgroup(written, tmp_path)
