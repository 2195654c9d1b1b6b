"""The primitive ``sim``: simulated memory."""

import numpy as np
import numpy.typing as npt

from damon_core import (
    PAGE_SIZE_BYTES,
    Context,
    DamonError,
    InputError,
    PageSampling,
    Range,
    Regions,
    Target,
    hookimpl,
    validators,
)
from damon_sim.patterns import Area, Pattern, PiecewisePattern, whole_pages


class SimulatedMemory:
    """An address space from 0 to a size, accessed by a known pattern.

    A check finds a page accessed with the probability that the pattern gives for the beginning
    of the sampling interval. Time counts from `init`. On a `VirtualClock` the same seed gives the
    same result, if the context's policy has a seed too; so does a restart. One object serves one
    context at a time.

    Args:
        size_bytes: Size of the address space: whole pages, up to 4 EiB.
        pattern: One of `damon_sim.patterns`, or any function like `Pattern`.
        seed: Seed of the random accesses.
        ends_after_us: Microseconds after which the target becomes invalid. None: never.

    Raises:
        AttributeValueError: The size or the time is out of range.
        InputError: The pattern needs more memory, or doesn't return rates.
    """

    name = "sim"
    sampling = PageSampling

    def __init__(
        self,
        size_bytes: int,
        pattern: Pattern,
        seed: int = 0,
        ends_after_us: int | None = None,
    ) -> None:
        validators.check(whole_pages, "size_bytes", size_bytes)
        if ends_after_us is not None:
            validators.check(validators.positive, "ends_after_us", ends_after_us)
        if isinstance(pattern, PiecewisePattern) and pattern.extent_bytes > size_bytes:
            raise InputError(
                f"the pattern needs {pattern.extent_bytes} bytes, the simulated memory has "
                f"{size_bytes}: make it larger, or the pattern smaller"
            )
        self._size_bytes = size_bytes
        self._pattern = pattern
        self._seed = seed
        self._ends_after_us = ends_after_us
        try:
            self._rates(np.array([0, size_bytes - PAGE_SIZE_BYTES]), 0)
        except DamonError as error:
            raise InputError(error.message) from error
        self._rng = np.random.default_rng(seed)
        self._begun_us = 0
        self._interval_begin_us = 0

    @property
    def size_bytes(self) -> int:
        """The size of the address space."""
        return self._size_bytes

    def areas(self, time_us: int) -> list[Area]:
        """Return areas that cover the whole memory, each with its true rate at a time.

        Raises:
            InputError: The pattern isn't made of areas.
        """
        if not isinstance(self._pattern, PiecewisePattern):
            name = _pattern_name(self._pattern)
            raise InputError(f"the pattern {name} isn't made of areas")
        covered = []
        position = 0
        for area in self._pattern.areas(time_us):
            if area.start > position:
                covered.append(Area(position, area.start, 0.0))
            position = min(area.end, self._size_bytes)
            covered.append(Area(area.start, position, area.rate))
        if position < self._size_bytes:
            covered.append(Area(position, self._size_bytes, 0.0))
        return covered

    @hookimpl
    def init(self, context: Context) -> None:
        """Create the only target, with regions of equal size."""
        self._rng = np.random.default_rng(self._seed)
        self._begun_us = context.clock.now_us()
        regions = Regions.evenly([Range(0, self._size_bytes)], context.limits)
        context.targets.append(Target(self.name, regions))

    @hookimpl
    def target_valid(self, context: Context) -> bool:
        """Return whether ``ends_after_us`` has not passed yet."""
        return self._ends_after_us is None or self._time_us(context) < self._ends_after_us

    @hookimpl
    def prepare_access_checks(self, context: Context) -> None:
        """Note the time at which the sampling interval begins."""
        self._interval_begin_us = self._time_us(context)

    @hookimpl
    def check_accesses(self, context: Context) -> None:
        """Decide at random, by the pattern's rates, which of the checked pages were accessed."""
        for target in context.targets:
            if target.samples is not None:
                rates = self._rates(target.samples.addresses, self._interval_begin_us)
                target.samples.accessed[:] = self._rng.random(len(rates)) < rates

    def _time_us(self, context: Context) -> int:
        return context.clock.now_us() - self._begun_us

    def _rates(self, addresses: npt.NDArray[np.int64], time_us: int) -> npt.NDArray[np.float64]:
        """Return the pattern's rates, checked: the pattern may be a user's function.

        Raises:
            DamonError: The pattern raised, or didn't return one rate from 0 to 1 for each address.
        """
        name = _pattern_name(self._pattern)
        try:
            rates = np.asarray(self._pattern(addresses, time_us), dtype=np.float64)
        except Exception as error:
            raise DamonError(
                f"the pattern {name} failed: {type(error).__name__}: {error}"
            ) from error
        if rates.shape != addresses.shape:
            raise DamonError(
                f"the pattern {name} returned an array of shape {rates.shape} "
                f"for {len(addresses)} addresses: it must return one rate for each"
            )
        if not ((rates >= 0) & (rates <= 1)).all():
            raise DamonError(
                f"the pattern {name} returned a rate outside 0 to 1: it must return probabilities"
            )
        return rates


def _pattern_name(pattern: Pattern) -> str:
    return getattr(pattern, "__qualname__", type(pattern).__qualname__)
