"""The course's own vocabulary: thin functions over the core under the assignments' names.

The modules have the names, signatures, dictionary keys, cache orders and seeds of the notebooks, so
that a notebook runs against them unchanged. Seeded numbers are those of `np.random.seed` followed
by `np.random.randn`, to the last bit, without touching NumPy's global state; what does not seed
draws from that state.

Here kinds and shapes are checked, values are not: the exercises pass arbitrary numbers as
AL and dA, and labels as integers or booleans. Arguments are never modified; an update returns new
dictionaries.
"""
