"""Seeded damage to valid files, and processes that read it: every case ends in a result or in a SegtoolError."""
