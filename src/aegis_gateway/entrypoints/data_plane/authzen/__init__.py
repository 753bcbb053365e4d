"""The OpenID AuthZEN Authorization API 1.0: enforcement points ask Aegis in the standard's own words."""
