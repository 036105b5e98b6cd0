"""Source files of every kind, behind one interface: look at them first, then read their examples in blocks."""
