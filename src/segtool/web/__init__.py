"""A web page that runs a model in the browser: a folder for any static server, without a connection to elsewhere."""

from segtool.web.page import WebPage, write_page

__all__ = ["WebPage", "write_page"]
