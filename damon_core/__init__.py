"""Data access monitoring in user space: which memory is a program really using?

The contract between this core and its plugins is in `damon_core.hookspecs`.
"""

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
from damon_core.contract.rotation import Rotation, move_aside, moved_aside
from damon_core.contract.sampling import Sampling, SamplingFactory
from damon_core.deployment.building import build_contexts
from damon_core.deployment.model import Config, ContextConfig, PartConfig
from damon_core.deployment.reading import check_config, load_config
from damon_core.errors import (
    AttributeValueError,
    BusyError,
    ConfigError,
    DamonError,
    InputError,
    NotRunningError,
    PluginError,
    Problem,
    TargetError,
    one_line,
)
from damon_core.hookspecs import hookimpl
from damon_core.loop.context import Context
from damon_core.loop.group import start, stop
from damon_core.loop.sampling import (
    AccumulatingSampling,
    DelegatedSampling,
    PageSampling,
    RegionSampling,
)
from damon_core.memory.regions import PAGE_SIZE_BYTES, Range, Regions
from damon_core.memory.samples import Samples
from damon_core.memory.snapshot import (
    RegionView,
    Snapshot,
    TargetRows,
    TargetSnapshot,
    assemble_snapshot,
)
from damon_core.memory.target import Area, Owner, Target
from damon_core.policies.evidence import EvidencePolicy, EvidencePolicyOptions
from damon_core.policies.kernel import KernelPolicy, KernelPolicyOptions
from damon_core.registry.backends import AUTO, BackendOption, make_backend
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

__all__ = [
    "AUTO",
    "COLUMNS",
    "PAGE_SIZE_BYTES",
    "REGION_COLUMNS",
    "AccumulatingSampling",
    "Area",
    "AttributeValueError",
    "Backend",
    "BackendOption",
    "BusyError",
    "Bytes",
    "Callback",
    "CallbackStats",
    "Clock",
    "Column",
    "Config",
    "ConfigError",
    "Context",
    "ContextConfig",
    "ContextInfo",
    "DamonError",
    "DelegatedSampling",
    "EvidencePolicy",
    "EvidencePolicyOptions",
    "Finding",
    "Grid",
    "HookContext",
    "InputError",
    "Intervals",
    "IntervalsGoal",
    "KernelPolicy",
    "KernelPolicyOptions",
    "Microseconds",
    "NoOptions",
    "NotRunningError",
    "Owner",
    "PageSampling",
    "PartConfig",
    "PluginError",
    "PluginInfo",
    "Plugins",
    "Policy",
    "Primitive",
    "Problem",
    "Range",
    "RecordFormat",
    "RecordInfo",
    "RecordReader",
    "RecordWriter",
    "RegionLimits",
    "RegionPolicy",
    "RegionSampling",
    "RegionView",
    "Regions",
    "Rotation",
    "Samples",
    "Sampling",
    "SamplingFactory",
    "SelfClosing",
    "Snapshot",
    "Stats",
    "SystemClock",
    "Target",
    "TargetError",
    "TargetRows",
    "TargetSnapshot",
    "VirtualClock",
    "assemble_snapshot",
    "build_contexts",
    "check_config",
    "fill_in",
    "format_duration",
    "format_of",
    "format_size",
    "hookimpl",
    "load_config",
    "make_backend",
    "move_aside",
    "moved_aside",
    "one_line",
    "parse_duration",
    "parse_size",
    "part_name",
    "rounded_counts",
    "start",
    "stop",
    "validators",
]
