"""Source files of all kinds behind one interface: inspect a source first, then read its examples in blocks."""
