"""TD-VAE: beliefs and states of a video, and jumps between any two of its times."""
