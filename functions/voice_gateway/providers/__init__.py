"""One vendor a file; `registry` knows them by name, `fallback` chooses between them."""
