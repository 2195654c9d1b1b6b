"""Records of damo, the kernel's tool for DAMON, both ways."""

from damon_damo.reader import DamoReader
from damon_damo.writer import DamoWriter

__all__ = ["DamoReader", "DamoWriter"]
