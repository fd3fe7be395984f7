"""The format of the watermark (SPEC.md, sections 1 to 5): a change here makes another mark."""
