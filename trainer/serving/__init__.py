"""The exported models: SavedModel, other runtimes, and the conversion of pictures inside the graph."""
