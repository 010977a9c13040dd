"""The pytest plugin: options, and the profiles of hypothesis."""
