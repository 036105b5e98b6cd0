"""The run folder: its files, their upload to a bucket, and the results of a finished run."""
