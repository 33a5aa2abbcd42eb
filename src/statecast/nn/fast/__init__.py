"""Fast paths: all code that exists only for speed."""
