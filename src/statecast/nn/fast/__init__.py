"""Fast paths: the only place of code that exists for speed alone."""
