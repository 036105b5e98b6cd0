"""Starts the job, preprocessing and training, somewhere."""
