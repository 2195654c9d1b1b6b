"""The cost of recording through the kernel's DAMON, with damo and with damon-core."""
