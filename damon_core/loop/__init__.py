"""The life of contexts: starting, the timing loop, stopping."""
