"""The course's vocabulary against the core and torch."""
