"""The use cases, written over ports that the adapters implement."""
