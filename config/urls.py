"""Every address of the site. Each application brings its own pages and API routes."""

from django.contrib import admin
from django.contrib.auth import views as auth_views
from django.contrib.auth.decorators import login_not_required
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.routers import DefaultRouter

import annotation.api
import evaluation.api
import training.api
from annotation.views import account

router = DefaultRouter()
router.include_format_suffixes = False  # there is JSON only
for api in (annotation.api, training.api, evaluation.api):
    api.register(router)

urlpatterns = [
    path("", include("annotation.urls")),
    path("", include("training.urls")),
    path("", include("evaluation.urls")),
    path("account/", account.account, name="account"),
    path("account/login/", auth_views.LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("account/logout/", auth_views.LogoutView.as_view(), name="logout"),
    path(
        "account/password/",
        auth_views.PasswordChangeView.as_view(success_url="/account/"),
        name="password_change",
    ),
    path(
        "account/invitation/<uidb64>/<token>/",
        login_not_required(
            auth_views.PasswordResetConfirmView.as_view(
                template_name="registration/invitation.html",
                post_reset_login=True,
                post_reset_login_backend="django.contrib.auth.backends.ModelBackend",
                success_url="/",
            )
        ),
        name="invitation",
    ),
    path("api/", include((router.urls, "api"))),
    path("api/token/", account.TokenView.as_view(), name="api-token"),
    path("api/schema/", SpectacularAPIView.as_view(), name="api-schema"),
    path("api/docs/", SpectacularSwaggerSplitView.as_view(url_name="api-schema"), name="api-docs"),
    path("admin/", admin.site.urls),
    path("health/", account.health, name="health"),
]
