"""The page of settings: who one is here, where one is signed in, and how tenants and the gateway are set up."""
