"""Labelled fields (CF conventions): reading, preparation, writing."""
