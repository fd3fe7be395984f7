"""Images in and out: files, Pillow images and arrays to pixels and back."""
