"""Files, read safely and written whole."""
