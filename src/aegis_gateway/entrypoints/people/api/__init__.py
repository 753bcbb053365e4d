"""The control API: what people do on pages and by commands, for programs in their name."""
