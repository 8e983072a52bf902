"""Values in files, by their formats: read, checked, compared and written."""
