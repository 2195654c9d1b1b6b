"""The kinds of input, a module each."""

from tests.fuzz.judging import Kind
from tests.fuzz.kinds.alert import Alerts
from tests.fuzz.kinds.btf import KernelTypes
from tests.fuzz.kinds.config import ConfigFile
from tests.fuzz.kinds.csv import CsvRecord
from tests.fuzz.kinds.damo import DamoRecord
from tests.fuzz.kinds.http import HttpRequest
from tests.fuzz.kinds.names import Names
from tests.fuzz.kinds.parquet import ParquetRecord
from tests.fuzz.kinds.proc import ProcTexts
from tests.fuzz.kinds.trace import Trace
from tests.fuzz.kinds.values import Values

#: All kinds by name.
KINDS: dict[str, type[Kind]] = {
    kind.name: kind
    for kind in (
        ConfigFile,
        Values,
        CsvRecord,
        ParquetRecord,
        DamoRecord,
        ProcTexts,
        KernelTypes,
        Trace,
        HttpRequest,
        Alerts,
        Names,
    )
}
