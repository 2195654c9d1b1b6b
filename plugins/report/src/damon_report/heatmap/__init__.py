"""Heat maps: which addresses were accessed when, on terminals, as pictures and as a page."""
