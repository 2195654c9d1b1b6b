"""Data access monitoring in user space: which memory is a program really using?

This is the public interface, with `damon_core.hookspecs`, the contract between the core and its
plugins, `damon_core.metrics`, for callbacks that export metrics, and `damon_core.testing`.
`__all__` lists it by reader.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from damon_core import validators
from damon_core.attributes import Intervals, IntervalsGoal, RegionLimits
from damon_core.clock import Clock, Grid, SystemClock, VirtualClock
from damon_core.contract.columns import (
    COLUMNS,
    REGION_COLUMNS,
    Column,
    fill_in,
    rounded_counts,
)
from damon_core.contract.context import HookContext
from damon_core.contract.forecast import Costs, TargetForecast
from damon_core.contract.measures import Measure
from damon_core.contract.outputs import PRIVATE_MODE, WriterLock, let_read, output_path
from damon_core.contract.policy import RegionPolicy
from damon_core.contract.provenance import ContextInfo, RecordInfo
from damon_core.contract.records import (
    RecordFormat,
    RecordReader,
    RecordWriter,
    SelfClosing,
    format_of,
)
from damon_core.contract.registration import (
    Backend,
    Callback,
    Finding,
    NoOptions,
    Policy,
    Primitive,
    part_name,
)
from damon_core.contract.reloading import Reloader
from damon_core.contract.rotation import Rotation, move_aside, moved_aside
from damon_core.contract.sampling import Sampling, SamplingFactory
from damon_core.deprecation import DamonDeprecationWarning
from damon_core.errors import (
    AttributeValueError,
    BusyError,
    ConfigError,
    DamonError,
    InputError,
    NotRunningError,
    PartError,
    PluginError,
    Problem,
    StopTimeoutError,
    TargetError,
    as_line,
    escaped,
    one_line,
)
from damon_core.hookspecs import hookimpl
from damon_core.memory.bounded import (
    OTHER,
    TARGET,
    bounded_owners,
    bounded_targets,
    common_labels,
    grouped_targets,
    label_of,
    largest_owners,
)
from damon_core.memory.idle import IDLE_SPANS, UNKNOWN, IdleAges, IdleSpan
from damon_core.memory.kinds import SWAPPED, KindColumns, kind_columns, kind_names
from damon_core.memory.labels import CADVISOR_NAMES, NO_LABELS, freeze_labels
from damon_core.memory.pages import (
    ABSENT,
    BLOCK_BYTES,
    BLOCK_PAGES,
    CODES,
    UNTOUCHED,
    PageMap,
    PageRuns,
    period_of,
)
from damon_core.memory.regions import PAGE_SIZE_BYTES, Range, Regions
from damon_core.memory.reported import Reported
from damon_core.memory.samples import Samples
from damon_core.memory.snapshot import (
    Idle,
    RegionView,
    Snapshot,
    TargetRows,
    TargetSnapshot,
    assemble_snapshot,
    join_columns,
    region_mistake,
)
from damon_core.memory.spectrum import SPECTRUM_US, Spectrum
from damon_core.memory.target import Area, Owner, Target, Toll
from damon_core.programs import why_not_a_program
from damon_core.registry.discovery import Plugins
from damon_core.registry.packages import PluginInfo
from damon_core.stats import CallbackStats, Stats
from damon_core.units import (
    Bytes,
    Microseconds,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)

# What monitors is imported when it is first used: nobody needs it to read a record, or to look at
# what is installed, and it takes as long to import as all the rest.
if TYPE_CHECKING:
    from damon_core.contract.totals import RecordTotals
    from damon_core.deployment.building import build_contexts
    from damon_core.deployment.forecasting import forecast_context
    from damon_core.deployment.model import Config, ContextConfig, PartConfig
    from damon_core.deployment.reading import check_config, load_config
    from damon_core.deployment.running import Deployment
    from damon_core.deployment.schema import config_schema
    from damon_core.loop.context import Context
    from damon_core.loop.forecast import Expected, Limits
    from damon_core.loop.group import start, stop
    from damon_core.loop.sampling import (
        AccumulatingSampling,
        DelegatedSampling,
        PageSampling,
        RegionSampling,
        SpacedSampling,
    )
    from damon_core.memory.merging import SnapshotMerger
    from damon_core.policies.evidence import EvidencePolicy, EvidencePolicyOptions
    from damon_core.policies.kernel import KernelPolicy, KernelPolicyOptions
    from damon_core.registry.backends import (
        AUTO,
        BackendOption,
        backends_of,
        make_backend,
        preferred_backends,
    )
    from damon_core.registry.forecast import BackendForecast, Forecast, make_forecast
else:
    #: The names of the imports above, by module.
    _LATER = {
        "damon_core.contract.totals": ("RecordTotals",),
        "damon_core.deployment.building": ("build_contexts",),
        "damon_core.deployment.forecasting": ("forecast_context",),
        "damon_core.deployment.model": ("Config", "ContextConfig", "PartConfig"),
        "damon_core.deployment.reading": ("check_config", "load_config"),
        "damon_core.deployment.running": ("Deployment",),
        "damon_core.deployment.schema": ("config_schema",),
        "damon_core.loop.context": ("Context",),
        "damon_core.loop.forecast": ("Expected", "Limits"),
        "damon_core.loop.group": ("start", "stop"),
        "damon_core.loop.sampling": (
            "AccumulatingSampling",
            "DelegatedSampling",
            "PageSampling",
            "RegionSampling",
            "SpacedSampling",
        ),
        "damon_core.memory.merging": ("SnapshotMerger",),
        "damon_core.policies.evidence": ("EvidencePolicy", "EvidencePolicyOptions"),
        "damon_core.policies.kernel": ("KernelPolicy", "KernelPolicyOptions"),
        "damon_core.registry.backends": (
            "AUTO",
            "BackendOption",
            "backends_of",
            "make_backend",
            "preferred_backends",
        ),
        "damon_core.registry.forecast": ("BackendForecast", "Forecast", "make_forecast"),
    }

    def __getattr__(name: str) -> object:
        for module, names in _LATER.items():
            if name in names:
                found = globals()[name] = getattr(import_module(module), name)
                return found
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = [  # noqa: RUF022  # by reader
    # Who builds monitors in Python, from parts (docs/python.md).
    "Context",
    "start",
    "stop",
    "Intervals",
    "RegionLimits",
    "IntervalsGoal",
    "EvidencePolicy",
    "EvidencePolicyOptions",
    "KernelPolicy",
    "KernelPolicyOptions",
    "Snapshot",
    "TargetSnapshot",
    "RegionView",
    "Idle",
    "IDLE_SPANS",
    "IdleSpan",
    "PageMap",
    "PageRuns",
    "Spectrum",
    "SPECTRUM_US",
    "Reported",
    "bounded_targets",
    "bounded_owners",
    "largest_owners",
    "OTHER",
    "grouped_targets",
    "common_labels",
    "label_of",
    "TARGET",
    "Stats",
    "CallbackStats",
    "Clock",
    "SystemClock",
    "VirtualClock",
    # Who builds them from configurations: files, mappings or a command line.
    "load_config",
    "check_config",
    "config_schema",
    "build_contexts",
    "Deployment",
    "Config",
    "ContextConfig",
    "PartConfig",
    "Plugins",
    "PluginInfo",
    "make_forecast",
    "forecast_context",
    "Forecast",
    "BackendForecast",
    "Expected",
    "Limits",
    # Who writes plugins: what hooks are given, and what a package registers (docs/plugins.md).
    "hookimpl",
    "HookContext",
    "Measure",
    "Reloader",
    "Primitive",
    "Backend",
    "Policy",
    "Callback",
    "NoOptions",
    "Finding",
    "BackendOption",
    "AUTO",
    "make_backend",
    "preferred_backends",
    "backends_of",
    "TargetForecast",
    "Costs",
    "validators",
    "part_name",
    # Who writes primitives, backends and policies: monitored memory, and ways of sampling.
    "Target",
    "Area",
    "Owner",
    "Toll",
    "IdleAges",
    "SWAPPED",
    "KindColumns",
    "kind_columns",
    "kind_names",
    "UNKNOWN",
    "Regions",
    "Range",
    "PAGE_SIZE_BYTES",
    "BLOCK_PAGES",
    "BLOCK_BYTES",
    "ABSENT",
    "UNTOUCHED",
    "CODES",
    "period_of",
    "Samples",
    "Sampling",
    "SamplingFactory",
    "RegionSampling",
    "SpacedSampling",
    "AccumulatingSampling",
    "PageSampling",
    "DelegatedSampling",
    "Grid",
    "RegionPolicy",
    # Who reads, writes or adds formats of records (docs/records.md).
    "RecordFormat",
    "RecordReader",
    "RecordWriter",
    "RecordInfo",
    "ContextInfo",
    "SelfClosing",
    "format_of",
    "Column",
    "COLUMNS",
    "REGION_COLUMNS",
    "fill_in",
    "NO_LABELS",
    "CADVISOR_NAMES",
    "freeze_labels",
    "rounded_counts",
    "TargetRows",
    "assemble_snapshot",
    "join_columns",
    "region_mistake",
    "SnapshotMerger",
    "RecordTotals",
    "Rotation",
    "move_aside",
    "moved_aside",
    "output_path",
    "let_read",
    "PRIVATE_MODE",
    "WriterLock",
    # Everybody: errors, and values as people write them.
    "DamonError",
    "DamonDeprecationWarning",
    "InputError",
    "AttributeValueError",
    "BusyError",
    "ConfigError",
    "NotRunningError",
    "PartError",
    "PluginError",
    "Problem",
    "StopTimeoutError",
    "TargetError",
    "as_line",
    "escaped",
    "one_line",
    "Bytes",
    "Microseconds",
    "format_duration",
    "format_size",
    "parse_duration",
    "parse_size",
    "why_not_a_program",
]
