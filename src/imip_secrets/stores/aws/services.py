"""Which services of AWS something here asks; botocore's models of four hundred others are in no set and no bundle."""

from __future__ import annotations

SERVICES = ("cloudtrail", "secretsmanager", "ssm", "sts")
