"""The errors of the lab."""


class LabError(Exception):
    """The lab can't be set up, or its machine ended before its work was done."""
