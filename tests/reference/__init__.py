"""Slow, readable twins of the kernels: one module a kernel file, one function of the same name a kernel.

A twin is written from the formula in the kernel's docstring, in float64 and plain numpy, without regard to
speed. It takes the kernel's inputs, never its scratch, and returns what the kernel writes; where a kernel
adds to its output, the twin returns what is added. Kernels that do a strip of rows have twins that do all.
"""
