"""One module an ecosystem; each offers INSPECTOR and yields package evidence."""
