"""Compiled kernels over arrays and scalars; they import nothing of the package but one another."""
