"""The options of the backend."""

from attrs import field, frozen


@frozen
class PageTableOptions:
    """The options of `pagetable`."""

    flush_tlb: bool = field(
        default=True,
        metadata={
            "help": "flush the TLB of processes, so that accesses to hot memory aren't missed"
        },
    )

    witnesses: bool = field(
        default=True,
        metadata={
            "help": "clear some pages between two clearings, to see whether others are still used"
        },
    )
