"""The backend `pagetable`: accesses to every page of a process, from its page tables."""
