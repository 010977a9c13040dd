"""Changed code: mutants, forks that run it, the tests that notice."""
