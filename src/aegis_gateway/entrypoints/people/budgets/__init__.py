"""The pages of budgets: all of them, and one with how its window goes."""
