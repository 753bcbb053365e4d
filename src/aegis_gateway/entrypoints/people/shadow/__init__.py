"""The pages of rules in shadow."""
