"""Provenance metadata beside the watermark: XMP, and content credentials (C2PA; the extra ``c2pa``)."""
