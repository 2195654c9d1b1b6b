"""The hooks of the life of a context, in their order."""

LIFECYCLE = [
    "init",
    "before_start",
    "target_valid",
    "prepare_access_checks",
    "after_sampling",
    "check_accesses",
    "describe_regions",
    "label_targets",
    "after_aggregation",
    "reset_aggregated",
    "update",
    "before_terminate",
    "cleanup",
]
