"""The same concepts as PyTorch spells them: its own modules, losses, samplers and optimizers.

Rows are examples. Each module here has a twin of the same name in `scratch`, and `parity_tests`
holds the two against each other.
"""
