"""What runs in a GPU worker's processes and imports torch. Nothing here knows Django; web code never imports it."""
