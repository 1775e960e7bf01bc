"""How the secrets are: their age, rotation, readers and cost, and what GitHub has that no store gives any more.

No value is read but where names can only be known by it (``--to``), and none is shown. What could not be seen is
said: an audit that looks complete and is not does harm.
"""
