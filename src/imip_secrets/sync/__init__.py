"""GitHub's own secrets kept equal to the stores: targets, a plan, the writes, the report."""
