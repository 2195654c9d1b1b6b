"""What the summary of a recording needs: counted along, nothing else is kept."""

from attrs import define, field

from damon_core import Context, hookimpl


@define(eq=False)
class Tally:
    """A callback that counts aggregations and rows and notes working sets.

    Attributes:
        working_sets_bytes: Of each aggregation.
        rows: Regions of all aggregations.
        targets: Names of all targets that there were.
    """

    name = "tally"

    working_sets_bytes: list[int] = field(factory=list)
    rows: int = 0
    targets: set[str] = field(factory=set)

    @hookimpl
    def after_aggregation(self, context: Context) -> bool:
        """Count one aggregation; ask to stop when nothing is written any more."""
        snapshot = context.snapshot
        assert snapshot is not None
        self.working_sets_bytes.append(snapshot.working_set_bytes())
        self.rows += len(snapshot)
        self.targets.update(target.name for target in snapshot.targets)
        return any(callback.switched_off for callback in context.stats.callbacks.values())
