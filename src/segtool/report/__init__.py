"""Pictures of a training and of predictions, and the HTML report; matplotlib is imported only when one is drawn."""

from segtool.report.confusion import plot_confusion
from segtool.report.pictures import plot_differences, plot_predictions
from segtool.report.training_charts import plot_curves

__all__ = ["plot_confusion", "plot_curves", "plot_differences", "plot_predictions"]
