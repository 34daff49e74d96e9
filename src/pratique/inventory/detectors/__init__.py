"""One module a kind of finding; each offers INSPECTOR and yields findings."""
