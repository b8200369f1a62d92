"""Superset's settings that the dashboards need; add them to your superset_config.py."""

# The datasets contain the dashboard's time range as a template.
FEATURE_FLAGS = {"ENABLE_TEMPLATE_PROCESSING": True}
