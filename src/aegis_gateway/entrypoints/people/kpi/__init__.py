"""Key figures, as people look at them."""
