"""Data made here: moving digits, waves, turning objects, an ocean."""
