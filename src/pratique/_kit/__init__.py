"""The tool drawer: HTTP, decompression, discovery, budgets, sandbox. Knows no domain."""
