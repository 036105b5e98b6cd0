"""The settings of a job description, and the flags of the commands."""
