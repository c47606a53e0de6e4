"""Data sets: images with label maps, their classes, and the split into training, validation and test."""

from segtool.data.array_dataset import ArrayDataset
from segtool.data.base import Dataset, Images, Indices, Size, Source
from segtool.data.classes import Classes
from segtool.data.split import Split, split

__all__ = ["ArrayDataset", "Classes", "Dataset", "Images", "Indices", "Size", "Source", "Split", "split"]
