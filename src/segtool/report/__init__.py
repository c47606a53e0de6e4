"""Pictures of a training and of its predictions; matplotlib is imported only when one is drawn."""

from segtool.report.confusion import plot_confusion
from segtool.report.curves import plot_curves
from segtool.report.panels import plot_predictions

__all__ = ["plot_confusion", "plot_curves", "plot_predictions"]
