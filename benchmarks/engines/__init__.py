"""The engines that export_engines.py compares: one adapter a file, each in a process of its own."""
