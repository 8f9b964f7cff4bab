"""What all tests share."""

import pytest


@pytest.fixture(autouse=True)
def _quick_settings(settings):
    """Static files without the manifest that collectstatic writes, and passwords that are cheap to hash."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    }
