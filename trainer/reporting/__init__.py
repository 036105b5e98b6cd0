"""Reports, model cards and pictures of a run, with their templates."""
