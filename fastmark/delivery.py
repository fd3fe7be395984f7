"""A delivered image: watermarked, encoded, labelled, signed and registered, in that order."""
