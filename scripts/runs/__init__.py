"""Runs of both sides: experiments as data, their data and draws, flags, the verdict."""
