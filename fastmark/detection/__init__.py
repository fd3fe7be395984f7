"""The detector and its evidence (SPEC.md, sections 9 and 10)."""
