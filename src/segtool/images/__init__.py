"""Decode, encode, resize and convert pixels; palettes and overlays; shared by training and the device."""
