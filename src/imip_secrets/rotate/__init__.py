"""New values for old secrets: made by us and switched in steps, or by AWS's own rotation.

Each step can be done again after a kill, and the value before stays readable until the next rotation.
"""
