"""Pixels: decode, encode, resize, convert, palettes and overlays; shared by training and the device."""
