import os

# Before anything imports torch: its threads wait without spinning. On a processor shared with other work, spinning
# makes a step of a small model many times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
