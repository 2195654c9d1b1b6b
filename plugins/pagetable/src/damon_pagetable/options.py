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
