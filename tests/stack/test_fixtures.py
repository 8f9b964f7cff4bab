"""The worker and the browser that other tests build on are the real ones."""

import os

import pytest
from django.urls import reverse

from config.processes import alive, tree, wait_until
from tests.factories import UserFactory


def test_a_worker_runs_tasks_on_the_test_database_and_is_gone_afterwards(worker):
    from config.celery import app

    one = worker("default")
    everyone = tree(one.pid)
    app.send_task("annotation.expire_leases")
    assert wait_until(
        lambda: "annotation.expire_leases" in one.log.read_text() and "succeeded" in one.log.read_text(), 20
    )
    one.stop()
    assert len(everyone) > 1
    assert alive(everyone) == []


@pytest.mark.browser
def test_a_page_can_be_opened_signed_in_and_not(new_page):
    user = UserFactory()
    stranger, member = new_page(), new_page(user)
    stranger.goto("/account/")
    assert stranger.url.endswith("/account/login/?next=/account/")
    member.goto(reverse("account"))
    assert member.get_by_text(user.username).first.is_visible()
    assert os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] == "true"
