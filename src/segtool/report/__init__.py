"""Pictures of trainings and predictions, and the HTML report; matplotlib is imported only for drawing."""

from segtool.report.pictures import plot_differences, plot_predictions
from segtool.report.training_charts import plot_curves

__all__ = ["plot_curves", "plot_differences", "plot_predictions"]
