"""What packages foresee of monitoring before it begins: of the memory, and of what it costs.

A `Primitive` with a ``forecast`` looks at what its options name without touching it; a `Backend`
with one says what watching that takes. From this `damon_core.make_forecast` foretells intervals.
Numbers that only people read are in ``facts``: a name that says the unit, as ``resident_bytes`` and
``look_us`` do, and the number.
"""

from collections.abc import Mapping

from attrs import field, frozen

from damon_core.contract.sampling import SamplingFactory
from damon_core.memory.target import Toll


@frozen
class TargetForecast:
    """What would be monitored as one target.

    What else the backends of a primitive need to know of it, a subclass has.

    Attributes:
        name: What users know it by, as `Target.name`.
        facts: What is known of its memory.
    """

    name: str
    facts: Mapping[str, int] = field(factory=dict, kw_only=True)


@frozen(kw_only=True)
class Costs:
    """What monitoring with a backend is expected to cost, all targets together.

    Attributes:
        sampling: The way of sampling.
        check_us: CPU time of a check with what prepares it, on average, in microseconds; None if
            that isn't known, and then no intervals can be foretold.
        begin_us: CPU time of the beginning.
        update_us: CPU time of an update.
        toll: What an aggregation costs the target that it costs most, if the target accesses all
            of its memory meanwhile; with an opening, what an epoch costs it.
        opening_us: CPU time that opens an epoch, where a way of sampling has epochs.
        facts: What is known of single steps.
        note: What users should know besides.
    """

    sampling: SamplingFactory
    check_us: float | None = None
    opening_us: int = 0
    begin_us: int = 0
    update_us: int = 0
    toll: Toll = field(factory=Toll)
    facts: Mapping[str, int] = field(factory=dict)
    note: str = ""
