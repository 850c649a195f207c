"""Signs by which an operator sees that the product is well, or what is wrong with it."""
