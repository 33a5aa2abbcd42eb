"""PKnl: a motion field is estimated from the last frames, and moves the last one."""
