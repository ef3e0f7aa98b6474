"""The reference pages of the documentation, made from the code that they tell of, and the site that holds them."""

from testbed.reference.pages import PAGES

__all__ = ["PAGES"]
