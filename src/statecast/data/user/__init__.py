"""Your own data: arrays, labelled fields, videos."""
