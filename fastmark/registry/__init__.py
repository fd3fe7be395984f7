"""The registry: what a watermark's id stands for, in SQLite or PostgreSQL (the extra ``registry``)."""
