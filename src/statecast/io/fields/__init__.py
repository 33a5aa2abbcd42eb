"""Labelled fields (CF conventions): read, prepared, written."""
