"""Trains, evaluates, exports and reports networks: reads dataset folders, writes run folders."""
