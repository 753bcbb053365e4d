"""The official conformance suite, at a server and through what stands in front of it: `make conformance`."""
