"""Looks for the values of secrets in what is about to leave: a workspace, archives, images, logs.

============  =====================================================================
spellings     what is looked for: the values, and what encoders make of them
automaton     finds thousands of texts at once, over bytes
stream        one stream of bytes: where in it something stands
archives      what is inside a file that holds others
places        the files of a tree
sweep         all of it together
detect        what looks like a secret, and was never in a store
============  =====================================================================
"""
