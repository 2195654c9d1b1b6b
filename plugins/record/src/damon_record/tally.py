"""What the summary of a recording needs: counted along, nothing else is kept."""

from attrs import define, field

from damon_core import Context, Snapshot, hookimpl


@define(eq=False)
class Tally:
    """A callback that counts aggregations and rows and notes working sets.

    Attributes:
        working_sets_bytes: Of each aggregation.
        elapsed_us: How long all aggregations took.
        rows: Regions of all aggregations.
        targets: Names of all targets that there were.
        last: The last aggregation that had any memory.
        aggregation_us: The aggregation interval that was last in force.
        knows_pages: Whether every page was known of any target.
    """

    name = "tally"

    working_sets_bytes: list[int] = field(factory=list)
    elapsed_us: int = 0
    rows: int = 0
    targets: set[str] = field(factory=set)
    last: Snapshot | None = None
    aggregation_us: int = 0
    knows_pages: bool = False

    @hookimpl
    def after_sampling(self, context: Context) -> None:
        """Note the interval in force, which a context that has ended doesn't know any more."""
        self.aggregation_us = context.intervals.aggregation_us

    @hookimpl
    def after_aggregation(self, context: Context) -> None:
        """Count one aggregation; ask to stop when something couldn't be written."""
        snapshot = context.snapshot
        assert snapshot is not None
        self.working_sets_bytes.append(snapshot.working_set_bytes())
        self.knows_pages |= any(each.page_map() is not None for each in snapshot.targets)
        self.elapsed_us += snapshot.elapsed_us
        self.rows += len(snapshot)
        self.targets.update(target.name for target in snapshot.targets)
        if len(snapshot):
            self.last = snapshot
        # By request, not by a result: the command itself says why it ends.
        if any(callback.failures for callback in context.stats.callbacks.values()):
            context.request_stop()
