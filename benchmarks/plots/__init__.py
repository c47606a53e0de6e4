"""The plots of the README and the docs: SVG written by hand from results/*.json, the same bytes on every machine."""
