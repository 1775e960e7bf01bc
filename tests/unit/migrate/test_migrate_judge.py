from __future__ import annotations

import pytest

from imip_secrets.migrate.judge import looks_secret
from imip_secrets.secret import Secret


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("SECRET_KEY", "x"),
        ("REFRESH_SECRET_KEY", "x"),
        ("OPENAI_API_KEY", "sk-x"),
        ("MONGO_URI", "mongodb://user:pass@localhost:27017/imip"),
        ("DATABASE_URL", "postgres://:pw@db/x"),
        ("DB_PASSWORD", "x"),
        ("SMTP_PASS", "x"),
        ("SENTRY_DSN", "https://abc@sentry.example/1"),
        ("GH", "ghp_abcdefghijklmnopqrstuvwxyz0123456789"),
        ("ANYTHING", "q3Zx8LmN0pRsTuVwXyZaBcDe"),
        ("TLS", "-----BEGIN RSA PRIVATE KEY-----\nx"),
        ("PASSWORD_HOST", "x"),
    ],
)
def test_this_looks_secret(key: str, value: str) -> None:
    assert looks_secret(key, Secret(value))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("PORT", "5432"),
        ("DEBUG", "true"),
        ("ENVIRONMENT", "production"),
        ("LOG_LEVEL", "info"),
        ("AWS_REGION", "us-east-1"),
        ("PUBLIC_KEY", "abc"),
        ("MONKEY", "banana"),
        ("KEYBOARD", "de"),
        ("API_URL", "https://api.example.com/v1"),
        ("SECRET_KEY", ""),
        ("APP_NAME", "a-long-name-of-an-application-0"),
    ],
)
def test_this_looks_like_configuration(key: str, value: str) -> None:
    assert not looks_secret(key, Secret(value))
