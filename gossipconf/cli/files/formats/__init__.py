"""Formats of other programs, and of files that `apply` reads: one file each. None of them knows an agent."""
