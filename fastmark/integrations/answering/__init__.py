"""Answers of image servers: where the images in them are, and how they are watermarked on their way out."""
