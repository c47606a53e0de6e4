"""Segment many inputs: find, name, run, resume, record."""
