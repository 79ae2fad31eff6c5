"""The doors: one file a resource."""
