"""Deep learning by hand in NumPy: mathematics as pairs of a forward and a backward function.

Columns are examples: X, A, Z and Y are (n, m), W is (n, n_prev), b is (n, 1). Each module here has
a twin of the same name in `torch_ref`, and `parity_tests` holds the two against each other.
"""
