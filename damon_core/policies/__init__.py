"""The policies that come with the core."""
