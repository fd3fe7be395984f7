"""One verdict on an image out of its watermark, its registry's entry, and its metadata."""
