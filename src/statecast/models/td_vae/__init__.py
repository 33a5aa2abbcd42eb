"""TD-VAE: beliefs and states of a video, with jumps between any two times."""
