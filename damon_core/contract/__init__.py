"""What hooks and packages are given, and what they give."""
