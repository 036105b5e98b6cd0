"""Drawing of lines of handwriting: strokes from outline fonts, pictures of characters side by side, and their texts."""
