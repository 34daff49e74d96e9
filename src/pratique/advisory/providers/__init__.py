"""One module an upstream; each offers PROVIDER and parses, never fetches."""
