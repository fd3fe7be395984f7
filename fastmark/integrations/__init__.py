"""Where images are made and where they are collected: one line in each of those programs.

Each module is for one of them, and imports it when it is used; none is imported by ``import fastmark``.
"""
