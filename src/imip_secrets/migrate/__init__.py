"""From ``.env`` files to a store: look (:mod:`.audit`), plan (:mod:`.plan`), write (:mod:`.apply`), and what is next.

A plan is a value: it is shown, tested and applied as it is. Nothing is written that the plan does not say, nothing
that is there is overwritten unless that is asked for, and no ``.env`` file is ever deleted.
"""
