"""House rules: who imports whom, what a stem needs, what the papers say."""
