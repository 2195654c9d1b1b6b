"""What backends find of memory whose use is known, to the page."""
