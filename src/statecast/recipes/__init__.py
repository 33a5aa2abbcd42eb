"""Complete run files (YAML), shipped with the package."""
