"""No lost word: the server is killed, the network goes away, a tab is closed, two tabs or devices meet."""

import os
import signal
import sys

import pytest
from django.conf import settings as django_settings
from django.test import Client
from django.urls import reverse
from playwright.sync_api import expect

from annotation.models import Annotation, Assignment
from config.processes import end, spawn, wait_until
from config.stack import answers, free_port, web_command
from tests.conftest import REPOSITORY, database_url
from tests.factories import ItemFactory, MembershipFactory, ProjectFactory

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

OFFLINE = "kept on this computer; will be saved when the server answers"


@pytest.fixture
def project():
    return ProjectFactory(overlap=1)


@pytest.fixture
def user(project):
    ItemFactory(project=project, text="They are all lazy, said the neighbour.")
    ItemFactory(project=project, text="The second text.")
    return MembershipFactory(project=project).user


@pytest.fixture
def address(project):
    return reverse("annotation:annotate", args=[project.pk])


@pytest.fixture
def annotating(new_page, user, address):
    page = new_page(user)
    page.goto(address)
    return page


def state(page, words):
    expect(page.locator("#draft-state")).to_contain_text(words, timeout=30_000)


def type_rewrite(page, words):
    page.focus("#rewrite")
    page.keyboard.press("Control+End")
    page.keyboard.type(words)


def label_everything(page):
    page.keyboard.press("Escape")
    page.evaluate("document.activeElement.blur()")
    for _ in range(4):
        page.keyboard.press("ArrowUp")
    for digit in "3222":
        page.keyboard.press(digit)


def draft():
    return Assignment.objects.order_by("pk").first().draft


class Web:
    """The web server as a process of its own, on the test database."""

    def __init__(self, log):
        self.port, self.log, self.process = free_port(), log, None

    def start(self):
        code = (
            "import os, django; django.setup(); from django.conf import settings; "
            "settings.STORAGES = settings.STORAGES | {'staticfiles': {'BACKEND': "
            "'django.contrib.staticfiles.storage.StaticFilesStorage'}}; settings.WHITENOISE_USE_FINDERS = True; "
            "from gunicorn.app.wsgiapp import run; run()"
        )
        env = os.environ | {
            "DATABASE_URL": database_url(),
            "ALLOWED_HOSTS": "127.0.0.1,localhost",
            "WEB_CONCURRENCY": "2",
        }
        command = [sys.executable, "-c", code, *web_command("127.0.0.1", self.port)[3:]]
        self.process = spawn(command, log=self.log, cwd=REPOSITORY, env=env, if_we_die=signal.SIGKILL)
        assert wait_until(lambda: answers("127.0.0.1", self.port), 60), self.log.read_text()

    def kill(self):
        """As a machine dies that lost its power: the master and its workers at once."""
        if self.process:
            end({self.process: signal.SIGKILL}, 10)
            wait_until(lambda: not answers("127.0.0.1", self.port), 30)


@pytest.fixture
def web(transactional_db, tmp_path):
    server = Web(tmp_path / "web.log")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def on_web(browser, web, user, address):
    """The annotator's page of that server."""
    context = browser.new_context(base_url=f"http://127.0.0.1:{web.port}")
    context.set_default_timeout(30_000)
    client = Client()
    client.force_login(user)
    name = django_settings.SESSION_COOKIE_NAME
    context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": f"http://127.0.0.1:{web.port}"}])
    page = context.new_page()
    page.goto(address)
    yield page
    context.close()


def test_every_word_typed_while_the_web_server_is_dead_arrives_when_it_is_back(on_web, web):
    page = on_web
    type_rewrite(page, "Before the crash")
    state(page, "draft saved")
    web.kill()
    type_rewrite(page, ", during the crash")
    state(page, OFFLINE)
    label_everything(page)
    page.keyboard.press("Control+Enter")
    expect(page.locator("#connection")).to_be_visible()
    state(page, "kept on this computer")
    assert page.input_value("#rewrite") == "Before the crash, during the crash"
    web.start()
    state(page, "draft saved")
    assert draft()["rewrite"] == "Before the crash, during the crash"
    assert not Annotation.objects.exists(), "submitting again is for the person to decide"
    page.keyboard.press("Control+Enter")
    expect(page.locator("#text")).to_have_text("The second text.")
    annotation = Annotation.objects.get()
    assert annotation.rewrite == "Before the crash, during the crash"
    assert len(annotation.labels) == 4


def test_a_page_that_is_closed_while_the_server_is_dead_has_its_words_again(on_web, web, address):
    page = on_web
    web.kill()
    type_rewrite(page, "Nobody but this browser knows")
    page.keyboard.press("Escape")
    page.keyboard.press("3")
    state(page, OFFLINE)
    context = page.context
    page.close()
    web.start()
    again = context.new_page()
    again.goto(address)
    expect(again.locator("#rewrite")).to_have_value("Nobody but this browser knows")
    assert again.locator("fieldset.dimension input:checked").count() == 1
    state(again, "draft saved")
    assert draft()["rewrite"] == "Nobody but this browser knows"


def test_without_a_network_nothing_is_lost_and_nothing_is_sent_blindly(annotating):
    annotating.context.set_offline(True)
    label_everything(annotating)
    type_rewrite(annotating, "In a tunnel")
    state(annotating, OFFLINE)
    annotating.keyboard.press("Control+Enter")
    expect(annotating.locator("#connection")).to_be_visible()
    annotating.context.set_offline(False)
    state(annotating, "draft saved")
    assert (draft()["rewrite"], Annotation.objects.count()) == ("In a tunnel", 0)
    annotating.keyboard.press("Control+Enter")
    expect(annotating.locator("#text")).to_have_text("The second text.")
    assert Annotation.objects.get().rewrite == "In a tunnel"


def test_a_submit_whose_answer_is_lost_counts_once(annotating):
    label_everything(annotating)
    type_rewrite(annotating, "Once")
    state(annotating, "draft saved")

    def arrives_but_is_not_answered(route):
        route.fetch()
        route.abort()

    annotating.route("**/submit/", arrives_but_is_not_answered)
    annotating.keyboard.press("Control+Enter")
    expect(annotating.locator("#connection")).to_be_visible()
    assert Annotation.objects.count() == 1
    annotating.unroute("**/submit/")
    annotating.keyboard.press("Control+Enter")
    expect(annotating.locator("#text")).to_have_text("The second text.")
    assert Annotation.objects.get().rewrite == "Once"


def test_a_tab_closed_a_moment_after_the_last_word_has_it_again(annotating, new_page, address):
    type_rewrite(annotating, "The last word")
    context = annotating.context
    annotating.close(run_before_unload=True)
    again = context.new_page()
    again.goto(address)
    expect(again.locator("#rewrite")).to_have_value("The last word")
    state(again, "draft saved")
    assert draft()["rewrite"] == "The last word"


def test_signed_out_in_the_middle_the_page_keeps_all_and_goes_on_after_signing_in(annotating, user, project):
    from django.contrib.sessions.models import Session

    label_everything(annotating)
    Session.objects.all().delete()
    type_rewrite(annotating, "Still here")
    state(annotating, "you are signed out")
    annotating.keyboard.press("Control+Enter")
    expect(annotating.locator("#connection")).to_contain_text("You are signed out")
    assert annotating.input_value("#rewrite") == "Still here"
    client = Client()
    client.force_login(user)
    name = django_settings.SESSION_COOKIE_NAME
    url = annotating.evaluate("location.origin")
    annotating.context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": url}])
    state(annotating, "draft saved")
    annotating.keyboard.press("Control+Enter")
    expect(annotating.locator("#text")).to_have_text("The second text.")
    assert Annotation.objects.get().rewrite == "Still here"


def test_a_second_tab_is_announced_and_takes_over_what_the_first_one_saved(annotating, address):
    other = annotating.context.new_page()
    other.goto(address)
    expect(annotating.locator("#twin")).to_contain_text("open in another tab too")
    expect(other.locator("#twin")).to_be_visible()
    type_rewrite(other, "Typed in the second tab")
    state(other, "draft saved")
    annotating.bring_to_front()
    annotating.evaluate("window.dispatchEvent(new Event('focus'))")
    expect(annotating.locator("#rewrite")).to_have_value("Typed in the second tab")
    annotating.keyboard.press("Escape")
    other.close()
    expect(annotating.locator("#twin")).to_have_count(0)


def two_devices(new_page, user, address):
    """A desk and a phone with the same text open; the phone's words were saved first, the desk's come after."""
    desk, phone = new_page(user), new_page(user)
    for page in (desk, phone):
        page.goto(address)
    type_rewrite(phone, "On the phone.")
    phone.keyboard.press("Escape")
    phone.keyboard.press("1")
    state(phone, "draft saved")
    type_rewrite(desk, "At the desk.")
    state(desk, "choose between two versions")
    return desk, phone


def test_two_devices_do_not_overwrite_each_other_and_the_person_keeps_theirs(new_page, user, address):
    desk, phone = two_devices(new_page, user, address)
    conflict = desk.locator("#conflict")
    expect(conflict).to_have_attribute("role", "alert")
    expect(conflict).to_contain_text("You changed this text")
    expect(conflict).to_contain_text("here: – · there: none")
    expect(conflict.locator("del")).to_contain_text(["phone"])
    assert draft()["rewrite"] == "On the phone."
    desk.get_by_role("button", name="Keep what is here").click()
    state(desk, "draft saved")
    assert draft()["rewrite"] == "At the desk."
    desk.get_by_role("button", name="Bring the other one back").click()
    expect(desk.locator("#rewrite")).to_have_value("On the phone.")
    desk.get_by_role("button", name="Bring the other one back").click()
    expect(desk.locator("#rewrite")).to_have_value("At the desk.")
    state(desk, "draft saved")
    phone.evaluate("window.dispatchEvent(new Event('focus'))")
    expect(phone.locator("#rewrite")).to_have_value("At the desk.")


def test_two_devices_and_the_person_takes_the_newer_one(new_page, user, address):
    desk, _ = two_devices(new_page, user, address)
    desk.get_by_role("button", name="Take the newer one").click()
    expect(desk.locator("#rewrite")).to_have_value("On the phone.")
    desk.keyboard.press("u")
    expect(desk.locator("#rewrite")).to_have_value("At the desk.")


def test_a_submit_from_a_stale_page_asks_first(new_page, user, address):
    desk, phone = new_page(user), new_page(user)
    for page in (desk, phone):
        page.goto(address)
    label_everything(desk)
    state(desk, "draft saved")
    phone.reload()
    type_rewrite(phone, "On the phone.")
    state(phone, "draft saved")
    desk.focus("#text-title")
    desk.keyboard.press("Control+Enter")
    expect(desk.locator("#conflict")).to_be_visible()
    assert not Annotation.objects.exists()
    desk.keyboard.press("Control+Enter")
    expect(desk.locator("#conflict button").first).to_be_focused()
    desk.get_by_role("button", name="Take the newer one").click()
    desk.keyboard.press("Control+Enter")
    expect(desk.locator("#text")).to_have_text("The second text.")
    assert Annotation.objects.get().rewrite == "On the phone."


def test_words_typed_after_the_text_was_submitted_elsewhere_become_a_change(new_page, user, address):
    desk, phone = new_page(user), new_page(user)
    for page in (desk, phone):
        page.goto(address)
    label_everything(phone)
    type_rewrite(phone, "Submitted on the phone.")
    phone.keyboard.press("Control+Enter")
    expect(phone.locator("#text")).to_have_text("The second text.")
    type_rewrite(desk, "Typed at the desk.")
    expect(desk.locator("#conflict")).to_contain_text("You submitted this text")
    desk.get_by_role("button", name="Keep what is here").click()
    expect(desk.locator("#task")).to_contain_text("have not saved the change")
    expect(desk.locator("#rewrite")).to_have_value("Typed at the desk.")
    expect(desk.get_by_role("button", name="Bring the other one back")).to_be_visible()
    label_everything(desk)
    desk.keyboard.press("Control+Enter")
    expect(desk.locator("#text")).to_have_text("The second text.")
    annotation = Annotation.objects.get()
    assert (annotation.rewrite, annotation.revision) == ("Typed at the desk.", 2)


def test_a_change_of_a_finished_text_is_offered_on_another_device_and_can_be_dropped(new_page, user, address):
    desk = new_page(user)
    desk.goto(address)
    label_everything(desk)
    type_rewrite(desk, "First.")
    desk.keyboard.press("Control+Enter")
    expect(desk.locator("#text")).to_have_text("The second text.")
    desk.keyboard.press("ArrowLeft")
    expect(desk.locator("#rewrite")).to_have_value("First.")
    type_rewrite(desk, " And more.")
    state(desk, "draft of the change saved")
    phone = new_page(user)
    phone.goto(address)
    phone.keyboard.press("ArrowLeft")
    expect(phone.locator("#rewrite")).to_have_value("First. And more.")
    phone.get_by_role("button", name="Drop the change").click()
    expect(phone.locator("#rewrite")).to_have_value("First.")
    state(phone, "draft of the change saved")
    assert draft() is None
    phone.keyboard.press("ArrowRight")
    expect(phone.locator("#text")).to_have_text("The second text.")
    assert Annotation.objects.get().revision == 1
