"""The report: one self-contained HTML page on a run or on model files, from the JSON of the other commands."""

from segtool.report.page.build import report, wrong_page
from segtool.report.page.options import ReportOptions

__all__ = ["ReportOptions", "report", "wrong_page"]
