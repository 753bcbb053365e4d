"""The record as people look into it: what was done, by whom, and whether it is whole."""
