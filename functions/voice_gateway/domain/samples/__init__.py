"""Voice samples: what was recorded, how good it is, and what is cut from it."""
