"""The object store that several machines share: what stands there is fetched, what is made here is put there.

``.labelseg`` stays the working copy, on which all other code works.
"""
