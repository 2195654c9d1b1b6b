"""Monitored memory: targets, their regions and samples, and the snapshot of an aggregation."""
