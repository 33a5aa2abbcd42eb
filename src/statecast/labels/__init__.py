"""Labelled fields: which dimension is which, what time it is, and files that say so."""
