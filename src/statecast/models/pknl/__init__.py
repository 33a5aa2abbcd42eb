"""PKnl: a motion field, estimated from the last frames, moves the last one."""
