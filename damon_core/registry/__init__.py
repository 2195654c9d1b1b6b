"""What is installed: packages, the options of what they offer, the choice of a backend."""
