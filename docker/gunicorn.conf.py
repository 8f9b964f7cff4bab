"""How gunicorn serves Redress in a container. WEB_CONCURRENCY sets the number of processes."""

import os

bind = "0.0.0.0:8000"
workers = int(os.environ.get("WEB_CONCURRENCY") or max(2, min(8, os.cpu_count() or 1)))
worker_class = "gthread"
threads = 8
preload_app = True
timeout = 120
graceful_timeout = 20
keepalive = 75  # longer than the proxy keeps its connections
worker_tmp_dir = "/dev/shm"  # noqa: S108  (the heartbeat must not wait for a disk)
control_socket_disable = True
