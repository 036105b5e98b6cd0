"""What a job description may hold, and the flags of the commands."""
