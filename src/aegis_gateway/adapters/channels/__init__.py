"""Channels: how each kind is told what people are to know."""
