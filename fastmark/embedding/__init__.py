"""What the embedder does within the format (SPEC.md, sections 6 to 8): marks of another stay readable."""
