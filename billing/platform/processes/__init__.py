"""Processes of the product, and when each last showed that it is alive."""
