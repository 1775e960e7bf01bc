"""How a release is made of a checkout."""
