"""The options of the backend."""

from attrs import field, frozen


@frozen
class IdleOptions:
    """The options of `idle`."""

    flush_tlb: bool = field(
        default=True,
        metadata={
            "help": "flush the TLB of processes, so that accesses to hot memory are not missed"
        },
    )
