"""Recording through the kernel's DAMON, by damo and by ours: what it costs us."""
