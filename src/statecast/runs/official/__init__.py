"""Published checkpoints in and out: one file per system."""
