"""One module a version scheme; each offers SCHEME. Keys are bytes that compare as versions do."""
