"""Tests: every check of every row, and rooms for stems, course, engine, scripts and house."""
