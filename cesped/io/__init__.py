"""Files as bytes and columns; what a column means is in cesped.data.conventions."""
