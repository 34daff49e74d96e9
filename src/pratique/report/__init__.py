"""Report -> documents, one module a format; each offers REPORTER."""
