"""Where people answer: pages and the control API, an ASGI application behind a bridge from RSGI."""
