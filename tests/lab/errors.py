"""What the laboratory can't do, in one line."""


class LabError(Exception):
    """The laboratory can't be set up, or its machine ended before its work did."""
