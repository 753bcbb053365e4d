"""Settings and configuration as code: read once, checked, then frozen."""
