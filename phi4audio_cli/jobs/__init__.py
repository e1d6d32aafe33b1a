"""Which recordings, which output files, and writing them."""
