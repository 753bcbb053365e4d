"""The doors that agents call: model APIs and connectors, over HTTP (RSGI, served by granian)."""
