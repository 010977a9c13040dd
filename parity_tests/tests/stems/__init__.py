"""Tests of single stems that no row can state."""
