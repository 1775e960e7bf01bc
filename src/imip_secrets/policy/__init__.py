"""What a request needs on the side of the stores, and no more: policies, roles and trust, to be pasted.

A :class:`~imip_secrets.policy.asked.Asked` is one request and the job that makes it. Each store's module turns it into
documents; :mod:`~imip_secrets.policy.text` and :mod:`~imip_secrets.policy.terraform` write them down. ``check`` goes
the other way: it reads a trust policy and names what is wrong with it.
"""
