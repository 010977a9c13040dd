"""The engine itself: lied to, misused, and asked for its report."""
