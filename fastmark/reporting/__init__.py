"""What the watermark does to a user's own images, and what is left of it after handling, as a report."""
