"""Calls that go through Envoys: decided for them by ext_authz, and settled and redacted besides by ext_proc."""
