"""Saved views: addresses of pages under a name, as a menu on every page, and how they are saved and changed."""
