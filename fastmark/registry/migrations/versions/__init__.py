"""One file a version of the tables, which is never changed once it was released."""
