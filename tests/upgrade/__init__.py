"""A rolling upgrade from an earlier version during calls: `make upgrade` (see `__main__`)."""
