"""Training: the loop, validation, checkpoints and logs."""
