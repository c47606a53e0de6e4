"""Images in files, for tests of folders."""

import numpy as np
from PIL import Image


def save(path, array, **options):
    """Write an array as an image, in the format of the suffix; folders are created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8)).save(path, **options)
